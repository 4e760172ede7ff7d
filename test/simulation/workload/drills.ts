/**
 * Short scripts that bring a host, or control, to the places where a lie would be told: each knows what
 * it must not be told, and asks for it. What is answered the checkers judge; a drill judges nothing.
 *
 * They are dealt in turn (`plan.ts`): few seeds have been through all of them.
 */
import type { Attempt } from '../../../shared/wire/sidecar-api.ts';
import type { CallRequest, FaultKind } from '../history.ts';
import type { Agenda } from '../engine/agenda.ts';
import type { ControlNode } from '../engine/control-node.ts';
import type { DaemonNode } from '../engine/daemon-node.ts';
import type { HistoryLog } from '../engine/history-log.ts';
import { APP_TOKEN, OPERATOR_TOKEN, type SidecarNode } from '../engine/sidecar-node.ts';
import type { Faults } from '../faults.ts';
import type { Called, Caller } from './caller.ts';
import type { Operators } from './operators.ts';
import { DRILLED, DRILLED_VALUE } from './policies.ts';
import type { Targets } from './targets.ts';

type Parts = {
  readonly agenda: Agenda;
  readonly log: HistoryLog;
  readonly caller: Caller;
  readonly targets: Targets;
  readonly nextFaultId: () => number;
  readonly control: ControlNode;
  readonly hosts: readonly SidecarNode[];
  readonly operators: Operators;
  readonly faults: Faults;
  /** Writes down what a host says of itself. */
  readonly look: (host: SidecarNode) => Promise<unknown>;
};

/** The operator of the host is an app of its own: no worker takes what it asked for. */
const OPS = { client: 'ops', token: OPERATOR_TOKEN };
/** Of others, who may not see it. */
const SHOP = { client: 'shop', token: APP_TOKEN };
const UP_MS_MAX = 30_000;
/** A lease has ended by then, whenever its host last spoke. */
const LEASE_OVER_MS = 78_000;
/** A sync may have been answered so long before a cut. */
const SYNC_MS = 20_000;
/** What is asked for arrives, and is decided, some milliseconds later. */
const LOOKS_BEFORE_MS = 9;
/** A revision is in force on a host, and what a host reports at control, after that. */
const SETTLES_MS = 4_000;
const OLD_COPY_MS = 32_000;

type Drill = {
  readonly host: SidecarNode;
  readonly rival: SidecarNode;
  /** Names what is of this drill alone. */
  readonly id: string;
  /** How often this drill has been dealt before, over all seeds. */
  readonly turn: number;
};

type Asked = {
  readonly action?: string;
  readonly resource?: { readonly id: string; readonly attributes: Record<string, string> };
  readonly deadlineMs?: number;
};

export class Drills {
  readonly #parts: Parts;
  readonly #all: readonly ((drill: Drill) => Promise<void>)[] = [
    (drill) => this.#steps(drill),
    (drill) => this.#lostOwner(drill),
    (drill) => this.#deadline(drill),
    (drill) => this.#silentHost(drill),
    (drill) => this.#lostWorker(drill),
    (drill) => this.#darkBoot(drill),
    (drill) => this.#lastMoment(drill),
    (drill) => this.#meter(drill),
    (drill) => this.#oldCopy(drill),
    (drill) => this.#tightened(drill),
  ];

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async run(index: number, taskId: number, seed: number): Promise<void> {
    const { hosts } = this.#parts;
    const host = hosts[index];
    const rival = hosts[(index + 1) % hosts.length];
    const { length } = this.#all;
    const turn = Math.floor(seed / length);
    if (host !== undefined && rival !== undefined)
      await this.#all[seed % length]?.({ host, rival, id: `drill-${taskId}`, turn });
  }

  /** One operation whose worker does all that a worker must not, and is taken over (I9). */
  async #steps({ host, id }: Drill): Promise<void> {
    const first = await this.#started(host, id, {});
    if (first === null) return;
    const { operationId, attempt } = first;
    const begin = (number: number, effect: string, key: string) =>
      this.#call(host, {
        kind: 'begin_effect',
        operationId,
        attempt: number,
        effect,
        key: `${id}-${key}`,
      });
    const settle = (number: number, effect: string, result: unknown) =>
      this.#call(host, {
        kind: 'settle_effect',
        operationId,
        attempt: number,
        effect,
        outcome: 'succeeded',
        result,
      });
    await this.#begun(host, first, 'once');
    await begin(attempt, 'once', 'another-call');
    await this.#begun(host, first, 'again');
    const key = `${id}-2`;
    const start = { kind: 'start_attempt', operationId, key, supersede: true } as const;
    const second = await this.#call(host, start);
    // The worker before does not know of it.
    await this.#call(host, { kind: 'heartbeat', operationId, attempt, checkpoint: { at: id } });
    await begin(attempt, 'again', 'stale');
    await this.#report(host, { operationId, attempt, outcome: 'failed' });
    await this.#parts.caller.call(host, { kind: 'operation', operationId }, SHOP);
    if (second.kind !== 'ok') return;
    const newest = second.body.attempt;
    await begin(newest, 'once', 'not-known');
    await settle(attempt, 'once', { took: 1 });
    await settle(attempt, 'once', { took: 2 });
    await begin(newest, 'once', 'has-succeeded');
    await this.#begun(host, second.body, 'again');
    await settle(newest, 'again', null);
    await begin(newest, 'again', 'has-succeeded-too');
    await this.#report(host, { operationId, attempt: newest, outcome: 'succeeded' });
    await this.#call(host, { kind: 'operation', operationId });
  }

  /** An owner that is cut off works on, and another host wants what it had (I7). */
  async #lostOwner({ host, rival, id }: Drill): Promise<void> {
    const { agenda } = this.#parts;
    const resource = `drills/${id}`;
    await this.#call(host, { kind: 'acquire_lease', resource });
    const attempt = await this.#started(host, id, {
      action: DRILLED.guard,
      resource: { id, attributes: { shard: id } },
      deadlineMs: 180_000,
    });
    if (attempt === null) return;
    this.#fault('partition', host, LEASE_OVER_MS + 40_000);
    const { operationId, attempt: number } = attempt;
    for (let asks = 0; asks < 3; asks += 1) {
      await agenda.sleep(LEASE_OVER_MS / 3);
      // Asked for now, it is given as soon as it may be.
      void this.#call(rival, { kind: 'acquire_lease', resource });
    }
    await this.#begun(host, attempt, 'once');
    await this.#parts.look(host);
    await agenda.sleep(SYNC_MS / 2);
    await this.#call(rival, { kind: 'acquire_lease', resource });
    await this.#parts.look(rival);
    await this.#begun(host, attempt, 'once');
    await this.#report(host, { operationId, attempt: number, outcome: 'failed' });
  }

  /** A deadline passes over an effect that nobody has reported (I8). */
  async #deadline({ host, id }: Drill): Promise<void> {
    const attempt = await this.#started(host, id, { deadlineMs: 20_000 });
    if (attempt === null) return;
    const { operationId, attempt: number } = attempt;
    await this.#begun(host, attempt, 'once');
    for (let beats = 0; beats < 3; beats += 1) {
      await this.#parts.agenda.sleep(9_000);
      await this.#call(host, { kind: 'heartbeat', operationId, attempt: number });
      if (beats === 0) await this.#begun(host, attempt, 'again');
    }
    await this.#call(host, { kind: 'operation', operationId });
  }

  /** Control starts while one host hears none of its answers, and another wants a lease (I7). */
  async #silentHost({ host, rival, id }: Drill): Promise<void> {
    const { agenda, control } = this.#parts;
    this.#fault('half_open', host, LEASE_OVER_MS);
    await agenda.sleep(1_000);
    this.#crash(control);
    for (let asks = 0; asks < 3; asks += 1) {
      await agenda.sleep(15_000);
      await this.#call(rival, { kind: 'acquire_lease', resource: `drills/${id}` });
    }
  }

  /** A worker is lost in the middle of what must not be done twice (I8, I9). */
  async #lostWorker({ host, id, turn }: Drill): Promise<void> {
    const attempt = await this.#started(host, id, { deadlineMs: 120_000 });
    if (attempt === null) return;
    const { operationId } = attempt;
    const checkpoint = { at: id };
    await this.#call(host, {
      kind: 'heartbeat',
      operationId,
      attempt: attempt.attempt,
      checkpoint,
    });
    // What can be done again is put back for another attempt, and nothing else.
    await this.#begun(host, attempt, turn % 2 === 0 ? 'once' : 'again');
    await this.#parts.agenda.sleep(28_000);
    const key = `${id}-2`;
    const again = { kind: 'start_attempt', operationId, key, supersede: false } as const;
    const second = await this.#call(host, again);
    if (second.kind === 'ok') await this.#begun(host, second.body, 'once');
    await this.#call(host, { kind: 'operation', operationId });
  }

  /** A machine boots while control cannot be reached: what it holds is as old as it was (I5). */
  async #darkBoot({ host, id }: Drill): Promise<void> {
    const { agenda } = this.#parts;
    this.#fault('partition', host, 75_000);
    await agenda.sleep(15_000);
    this.#fault('reboot', host, 0);
    if (!(await this.#isUp(host))) return;
    await this.#parts.look(host);
    await this.#call(host, { kind: 'config_value', name: DRILLED_VALUE });
    await this.#admit(host, id, { action: DRILLED.moment });
    await agenda.sleep(10_000);
    await this.#parts.look(host);
  }

  /** A value that is asked for in the very millisecond in which it ends (I5). */
  async #lastMoment({ host }: Drill): Promise<void> {
    const { agenda } = this.#parts;
    const request = { kind: 'config_value', name: DRILLED_VALUE } as const;
    this.#fault('partition', host, 75_000);
    await agenda.sleep(6_000);
    const read = await this.#call(host, request);
    if (read.kind !== 'ok' || read.body.expired) return;
    await agenda.sleep(Math.max(0, read.body.expiresInMs - LOOKS_BEFORE_MS));
    for (let looks = 0; looks < 14; looks += 1) {
      void this.#call(host, request);
      await agenda.sleep(1);
    }
  }

  /** A quota that was used is asked for again after a crash (I3). */
  async #meter({ host, id }: Drill): Promise<void> {
    const ask = async (from: number): Promise<void> => {
      for (let n = from; n < from + 4; n += 1)
        await this.#admit(host, `${id}-${n}`, { action: DRILLED.meter });
    };
    await ask(0);
    this.#crash(host);
    if (await this.#isUp(host)) await ask(4);
  }

  /** Control goes on from a copy that does not know what has been given since (I6, I11). */
  async #oldCopy({ host, rival, id, turn }: Drill): Promise<void> {
    const { agenda, control, operators } = this.#parts;
    const last = `drills/${id}`;
    this.#fault('control_backup_restored', control, OLD_COPY_MS);
    await operators.publish(turn * 31 + 7);
    for (let n = 0; n < 4; n += 1) {
      const resource = n === 3 ? last : `${last}-${n}`;
      await this.#call(host, { kind: 'acquire_lease', resource });
    }
    await agenda.sleep(OLD_COPY_MS + LEASE_OVER_MS);
    await this.#parts.look(host);
    await this.#call(rival, { kind: 'acquire_lease', resource: last });
    await agenda.sleep(SYNC_MS);
    await this.#call(rival, { kind: 'acquire_lease', resource: last });
  }

  /** What is approved by one person, and wants two by the time that the word of it comes (I3). */
  async #tightened({ host, id, turn }: Drill): Promise<void> {
    const { agenda, operators } = this.#parts;
    await operators.publishWanting(1, turn);
    await agenda.sleep(SETTLES_MS);
    const admitted = await this.#admit(host, id, { action: DRILLED.risky, deadlineMs: 90_000 });
    if (admitted.kind !== 'ok') return;
    const { operationId, approval, fingerprint } = admitted.body;
    await operators.publishWanting(2, turn);
    await agenda.sleep(SETTLES_MS);
    await operators.approve(approval?.requestId ?? '', fingerprint);
    await agenda.sleep(SYNC_MS);
    const start = { kind: 'start_attempt', operationId, key: `${id}-1`, supersede: false } as const;
    await this.#call(host, start);
  }

  /** Begun, and if it may be, done. */
  async #begun(host: SidecarNode, attempt: Attempt, effect: string): Promise<void> {
    const { operationId, attempt: number } = attempt;
    const one = { operationId, attempt: number, effect };
    const key = `${operationId}-${number}-${effect}`;
    const begun = await this.#call(host, { kind: 'begin_effect', ...one, key });
    if (begun.kind !== 'ok' || begun.body.effect.state !== 'begun') return;
    this.#parts.targets.take(host.name, attempt, begun.body);
  }

  /** An operation of the drill and its first attempt; `null` where it did not come to that. */
  async #started(host: SidecarNode, id: string, terms: Asked): Promise<Attempt | null> {
    const admitted = await this.#admit(host, id, terms);
    if (admitted.kind !== 'ok') return null;
    const { operationId } = admitted.body;
    const request = {
      kind: 'start_attempt',
      operationId,
      key: `${id}-1`,
      supersede: false,
    } as const;
    const started = await this.#call(host, request);
    return started.kind === 'ok' ? started.body : null;
  }

  #admit(
    host: SidecarNode,
    key: string,
    { action = DRILLED.step, resource, deadlineMs = 60_000 }: Asked,
  ): Promise<Called<'admit'>> {
    const body = {
      principal: 'agent:billing',
      action,
      deadlineMs,
      ...(resource === undefined ? {} : { resource }),
    };
    return this.#call(host, { kind: 'admit', key, body });
  }

  #report(
    host: SidecarNode,
    one: Pick<CallRequest & { kind: 'report_outcome' }, 'operationId' | 'attempt' | 'outcome'>,
  ): Promise<unknown> {
    return this.#call(host, { kind: 'report_outcome', ...one, result: null });
  }

  #call<R extends CallRequest>(host: SidecarNode, request: R): Promise<Called<R['kind']>> {
    return this.#parts.caller.call(host, request, OPS);
  }

  #fault(kind: FaultKind, node: DaemonNode, durationMs: number): void {
    const { agenda, control, hosts, faults } = this.#parts;
    const host = node === control ? null : hosts.findIndex((one) => one === node);
    faults.begin({ id: 0, atMs: agenda.nowMs, durationMs, kind, host, seed: agenda.nowMs });
  }

  #crash(node: DaemonNode): void {
    const { log, nextFaultId } = this.#parts;
    if (!node.hasLife) return;
    const detail = { aim: 'drill' };
    const nodes = [node.name];
    log.add({
      kind: 'fault',
      fault: 'crash',
      stage: 'once',
      faultId: nextFaultId(),
      nodes,
      detail,
    });
    node.crash('drill', false);
  }

  async #isUp(host: SidecarNode): Promise<boolean> {
    const { agenda } = this.#parts;
    for (let waitedMs = 0; waitedMs < UP_MS_MAX && !host.isUp; waitedMs += 500)
      await agenda.sleep(500);
    return host.isUp;
  }
}
