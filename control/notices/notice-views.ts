/**
 * Notices as operators see them: which hosts obey each, which have not said so, and until when those
 * could still act against it (`core/notice-reach.ts`).
 */
import type { Clock } from '../../shared/platform/clock.ts';
import {
  NOTICE_HOSTS_MAX,
  type NoticeDetail,
  type NoticeEntry,
  type NoticeHost,
  type NoticeView,
} from '../../shared/wire/notices.ts';
import type { ControlConfig } from '../config.ts';
import { newestByNotice } from '../core/notice-delivery.ts';
import {
  KEPT_REVISIONS,
  allowanceOf,
  longestOf,
  reachOf,
  type Allowance,
} from '../core/notice-reach.ts';
import type { HostBook } from '../policy/host-book.ts';
import type { PolicyPublisher } from '../policy/policy-publisher.ts';
import type { ControlStore, HostRecord, Page, PageRequest } from '../store/control-store.ts';
import { unknownNotice, type NoticeDesk } from './notice-desk.ts';

type Ports = {
  readonly desk: NoticeDesk;
  readonly store: Pick<ControlStore, 'hosts' | 'policy'>;
  readonly publisher: Pick<PolicyPublisher, 'revision'>;
  readonly book: HostBook;
  readonly clock: Clock;
  readonly config: Pick<ControlConfig, 'drift'>;
};

type Known = { readonly host: HostRecord; readonly held: number; readonly reach: Reached };
type Reached = Pick<NoticeHost, 'silentMs' | 'admitsUntilMs' | 'actsUntilMs'>;

export class NoticeViews {
  readonly #ports: Ports;
  readonly #startedBootMs: number;
  /** By host, on the boot clock: when control last decided for it. */
  readonly #decidedMs = new Map<string, number>();
  readonly #allowances = new Map<number, Allowance>();

  constructor(ports: Ports) {
    this.#ports = ports;
    this.#startedBootMs = ports.clock.now().bootMs;
  }

  /** Control decides for that host now, whatever it answers. */
  noteDecision(hostId: string): void {
    this.#decidedMs.set(hostId, this.#ports.clock.now().bootMs);
  }

  /** Newest first. */
  async list(
    { inForce }: { readonly inForce: boolean | null },
    { limit, cursor }: PageRequest,
  ): Promise<Page<NoticeView>> {
    const before = cursor === null ? Number.MAX_SAFE_INTEGER : Number(cursor);
    const entries = this.#newest()
      .filter((entry) => inForce === null || entry.inForce === inForce)
      .filter(({ sequence }) => sequence < before);
    const shown = entries.slice(0, limit);
    const hosts = await this.#hosts();
    const last = entries.length > limit ? shown.at(-1) : undefined;
    const items = shown.map((entry) => this.#view(entry, this.#ofHosts(entry, hosts)));
    return { items, nextCursor: last === undefined ? null : String(last.sequence) };
  }

  /** Throws `not_found`. */
  async fetch(noticeId: string): Promise<NoticeDetail> {
    const entry = this.#newest().find((each) => each.noticeId === noticeId);
    if (entry === undefined) throw unknownNotice(noticeId);
    const hosts = this.#ofHosts(entry, await this.#hosts());
    return {
      ...this.#view(entry, hosts),
      hosts: hosts.slice(0, NOTICE_HOSTS_MAX),
      hostsLeftOut: Math.max(0, hosts.length - NOTICE_HOSTS_MAX),
    };
  }

  /** Hosts that have not confirmed the newest number; a host that never synced is none of them. */
  unconfirmed(): number {
    const { desk, book } = this.#ports;
    let behind = 0;
    for (const hostId of book.hosts().keys())
      if (desk.heldLast(hostId) < desk.sequence) behind += 1;
    return behind;
  }

  #newest(): readonly NoticeEntry[] {
    return [...newestByNotice(this.#ports.desk.log).values()].toSorted(
      (a, b) => b.sequence - a.sequence,
    );
  }

  #view(entry: NoticeEntry, hosts: readonly NoticeHost[]): NoticeView {
    const { noticeId, sequence, kind, subject, inForce } = entry;
    const begun = this.#ports.desk.log.find((each) => each.noticeId === noticeId && each.inForce);
    const open = hosts.filter(({ state }) => state !== 'confirmed');
    return {
      noticeId,
      sequence,
      kind,
      subject,
      reason: begun?.reason ?? '',
      inForce,
      recordedAtMs: begun?.atMs ?? entry.atMs,
      liftedAtMs: inForce ? null : entry.atMs,
      liftReason: inForce ? null : entry.reason,
      confirmed: hosts.length - open.length,
      unconfirmed: open.length,
      admitsUntilMs: latest(open.map(({ admitsUntilMs }) => admitsUntilMs)),
      actsUntilMs: latest(open.map(({ actsUntilMs }) => actsUntilMs)),
    };
  }

  #ofHosts({ sequence }: NoticeEntry, hosts: readonly Known[]): readonly NoticeHost[] {
    const nowMs = this.#ports.clock.now().wallMs;
    return hosts
      .map(({ host: { hostId, hostName }, held, reach }): NoticeHost => {
        const { silentMs, admitsUntilMs, actsUntilMs } = reach;
        const at = { hostId, hostName, sequence: held, silentMs };
        if (held >= sequence)
          return { ...at, state: 'confirmed', admitsUntilMs: null, actsUntilMs: null };
        const isOver = actsUntilMs !== null && actsUntilMs < nowMs;
        return { ...at, state: isOver ? 'bound_passed' : 'may_act', admitsUntilMs, actsUntilMs };
      })
      .toSorted((a, b) => (b.actsUntilMs ?? -1) - (a.actsUntilMs ?? -1));
  }

  async #hosts(): Promise<readonly Known[]> {
    const { store, desk } = this.#ports;
    const newest = (await store.policy.currentNumber()) ?? 0;
    const known: Known[] = [];
    for (const host of await store.hosts.all()) {
      const reach = this.#reach(host, await this.#allowance(host.policyRevision ?? 0, newest));
      known.push({ host, held: desk.heldBy(host), reach });
    }
    return known;
  }

  #reach({ hostId }: HostRecord, allowance: Allowance): Reached {
    const { book, clock, config } = this.#ports;
    const now = clock.now();
    const decidedMs = this.#decidedMs.get(hostId);
    const silentMs = book.silentMs(hostId, now);
    const { admitsForMs, actsForMs } = reachOf({
      silentMs,
      sinceDecisionMs: decidedMs === undefined ? null : now.bootMs - decidedMs,
      sinceStartMs: now.bootMs - this.#startedBootMs,
      allowance,
      drift: config.drift,
    });
    return {
      silentMs,
      admitsUntilMs: Math.max(0, now.wallMs + admitsForMs),
      actsUntilMs: Math.max(0, now.wallMs + actsForMs),
    };
  }

  /** R2. */
  async #allowance(reported: number, newest: number): Promise<Allowance> {
    const found: Allowance[] = [];
    for (let number = Math.max(1, reported - KEPT_REVISIONS); number <= newest; number += 1) {
      let allowance = this.#allowances.get(number);
      if (allowance === undefined) {
        const revision = await this.#ports.publisher.revision(number);
        // A number that was left out after a restored copy may be in force at a host all the same,
        // and nobody knows what it says; neighbours are all there is.
        if (revision === null) continue;
        allowance = allowanceOf(revision.compiled);
        this.#allowances.set(number, allowance);
      }
      found.push(allowance);
    }
    return longestOf(found);
  }
}

function latest(moments: readonly (number | null)[]): number | null {
  return moments.reduce<number | null>(
    (last, ms) => (ms !== null && (last === null || ms > last) ? ms : last),
    null,
  );
}
