/**
 * What operators say about placement: groups, labels and drains of hosts. Written conditionally and
 * audited; then placement plans anew.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type {
  HostSettingsView,
  Labels,
  PlacementGroup,
  PlacementGroupSpec,
} from '../../shared/wire/placement-api.ts';
import { resourceOf } from '../core/placement.ts';
import type {
  ControlStore,
  GroupRecord,
  HostRecord,
  HostSettings,
} from '../store/control-store.ts';
import type { Placement } from './placement.ts';

/** Who else goes by the labels of hosts. */
export type LabelBook = {
  /** What operators say over what the host says. */
  labels(hostId: string): Labels;
  noteLabels(hostId: string, labels: Labels): void;
};

type Ports = {
  readonly store: ControlStore;
  readonly placement: Placement;
  readonly book: LabelBook;
  readonly clock: Clock;
};

const RESOURCE = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/;
const TRIES_MAX = 4;

/** What the caller has read: its revision, or that there is none. */
export type Expected =
  | { readonly kind: 'revision'; readonly revision: number }
  | { readonly kind: 'none' };

export class PlacementDesk {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  async group(name: string): Promise<PlacementGroup> {
    const found = await this.#find(name);
    if (found === undefined || found.spec === null) throw noGroup(name);
    return { ...found, spec: found.spec };
  }

  async put(
    name: string,
    spec: PlacementGroupSpec,
    by: { readonly expected: Expected; readonly actor: string },
  ): Promise<{ readonly group: PlacementGroup; readonly isNew: boolean }> {
    const { store, clock, placement } = this.#ports;
    await this.check(name, spec);
    const before = await this.#find(name);
    checkExpected(name, before, by.expected);
    const atMs = clock.now().wallMs;
    const revision = (before?.revision ?? 0) + 1;
    const group = { name, revision, spec, updatedAtMs: atMs, updatedBy: by.actor };
    const detail = { revision, spec, replaces: before?.spec ?? null };
    const action = 'placement.group_put';
    const audit = { atMs, actor: by.actor, action, target: name, detail };
    if ((await store.placement.putGroup(group, before?.revision ?? 0, audit)) === 'conflict') {
      throw conflict(name, 'somebody was faster');
    }
    await placement.changed();
    return { group, isNew: before === undefined || before.spec === null };
  }

  /** Its leases stay with those who hold them, as any others. */
  async remove(
    name: string,
    by: { readonly expected: Expected; readonly actor: string },
  ): Promise<void> {
    const { store, clock, placement } = this.#ports;
    const before = await this.#find(name);
    if (before === undefined || before.spec === null) throw noGroup(name);
    checkExpected(name, before, by.expected);
    const atMs = clock.now().wallMs;
    const revision = before.revision + 1;
    const gone = { name, revision, spec: null, updatedAtMs: atMs, updatedBy: by.actor };
    const detail = { revision, replaces: before.spec };
    const action = 'placement.group_deleted';
    const audit = { atMs, actor: by.actor, action, target: name, detail };
    if ((await store.placement.putGroup(gone, before.revision, audit)) === 'conflict') {
      throw conflict(name, 'somebody was faster');
    }
    await placement.changed();
  }

  /** Throws `invalid_request` or `group_overlap`. */
  async check(name: string, spec: PlacementGroupSpec): Promise<void> {
    const invalid = (path: string, message: string): HoldfastError =>
      new HoldfastError('invalid_request', `${path}: ${message}`, { errors: [{ path, message }] });
    if (spec.resource.split('{shard}').length !== 2) {
      throw invalid('/resource', 'must have {shard} in it, once');
    }
    if (!RESOURCE.test(resourceOf(spec, spec.shards - 1))) {
      throw invalid('/resource', 'must be the name of a resource once {shard} is a number');
    }
    const stray = Object.keys(spec.pins ?? {}).find(
      (shard) => Number(shard) >= spec.shards || String(Number(shard)) !== shard,
    );
    if (stray !== undefined) throw invalid(`/pins/${stray}`, `is no shard of ${spec.shards}`);
    const mine = new Set(
      Array.from({ length: spec.shards }, (_, shard) => resourceOf(spec, shard)),
    );
    for (const other of await this.#ports.placement.groups()) {
      if (other.name === name) continue;
      for (let shard = 0; shard < other.spec.shards; shard += 1) {
        const resource = resourceOf(other.spec, shard);
        if (!mine.has(resource)) continue;
        throw new HoldfastError('group_overlap', `${resource} is placed by group ${other.name}`);
      }
    }
  }

  async hostSettings(ref: string): Promise<HostSettingsView> {
    const host = await this.#host(ref);
    return this.#view(host, await this.#settingsOf(host));
  }

  setLabels(ref: string, labels: Labels, actor: string): Promise<HostSettingsView> {
    return this.#set(ref, { actor, action: 'host.labelled', detail: { labels } }, () => ({
      labels,
    }));
  }

  drain(ref: string, reason: string | null, actor: string): Promise<HostSettingsView> {
    const by = { actor, action: 'host.drained', detail: { reason } };
    // Twice is once: since when it is drained stays true.
    return this.#set(ref, by, ({ drain }, atMs) => ({
      drain: drain ?? { sinceMs: atMs, by: actor, reason },
    }));
  }

  undrain(ref: string, actor: string): Promise<HostSettingsView> {
    const by = { actor, action: 'host.undrained', detail: {} };
    return this.#set(ref, by, () => ({ drain: null }));
  }

  async #set(
    ref: string,
    by: { actor: string; action: string; detail: Record<string, unknown> },
    change: (before: HostSettings, atMs: number) => Partial<HostSettings>,
  ): Promise<HostSettingsView> {
    const { store, clock, placement, book } = this.#ports;
    const host = await this.#host(ref);
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const before = await this.#settingsOf(host);
      const atMs = clock.now().wallMs;
      const next = { ...before, ...change(before, atMs), version: before.version + 1 };
      const audit = { atMs, ...by, target: host.hostName };
      if ((await store.placement.putHostSettings(next, audit)) === 'conflict') continue;
      book.noteLabels(host.hostId, next.labels);
      await placement.changed();
      return this.#view(host, next);
    }
    const detail = `the settings of ${host.hostName} were changed by others meanwhile`;
    throw new HoldfastError('overloaded', detail, { retry_after_ms: 1_000 });
  }

  #view({ hostId, hostName }: HostRecord, { labels, drain }: HostSettings): HostSettingsView {
    const effectiveLabels = { ...this.#ports.book.labels(hostId) };
    return { hostId, hostName, labels, effectiveLabels, drain };
  }

  async #settingsOf({ hostId }: HostRecord): Promise<HostSettings> {
    const all = await this.#ports.store.placement.hostSettings();
    return (
      all.find((one) => one.hostId === hostId) ?? { hostId, version: 0, labels: {}, drain: null }
    );
  }

  async #host(ref: string): Promise<HostRecord> {
    const { hosts } = this.#ports.store;
    const host = (await hosts.byName(ref)) ?? (await hosts.fetch(ref));
    if (host !== null) return host;
    throw new HoldfastError('not_found', `there is no host ${ref}; GET /v1/hosts lists them`);
  }

  async #find(name: string): Promise<GroupRecord | undefined> {
    return (await this.#ports.store.placement.groups()).find((group) => group.name === name);
  }
}

function checkExpected(name: string, before: GroupRecord | undefined, expected: Expected): void {
  const current = before === undefined || before.spec === null ? null : before.revision;
  if (expected.kind === 'none' ? current === null : current === expected.revision) return;
  throw conflict(name, current === null ? 'there is none' : `it is at revision ${current}`);
}

const conflict = (name: string, why: string): HoldfastError =>
  new HoldfastError('group_conflict', `group ${name}: ${why}; read it, and try again`);

const noGroup = (name: string): HoldfastError =>
  new HoldfastError(
    'not_found',
    `there is no placement group ${name}; GET /v1/placement/groups lists them`,
  );
