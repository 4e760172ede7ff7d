/** Does to the simulated machines what a plan says, and takes it back. */
import { CLOCK_SKEW_SECONDS } from '../../control/core/host-request.ts';
import { FAILPOINTS, type FailpointName } from '../../shared/platform/failpoints.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import type { Agenda } from './engine/agenda.ts';
import { EPOCH_WALL_MS } from './engine/determinism.ts';
import { SEED_BYTES, isStoreFile, type ControlNode } from './engine/control-node.ts';
import type { DaemonNode } from './engine/daemon-node.ts';
import type { HistoryLog } from './engine/history-log.ts';
import type { Network } from './engine/network.ts';
import type { SidecarNode } from './engine/sidecar-node.ts';
import { CONTROL, type FaultKind, type NodeName } from './history.ts';
import type { PlannedFault } from './plan.ts';

type Detail = Readonly<Record<string, string | number | boolean | null>>;
type Parts = {
  readonly agenda: Agenda;
  readonly log: HistoryLog;
  readonly network: Network;
  readonly control: ControlNode;
  readonly hosts: readonly SidecarNode[];
  readonly nextFaultId: () => number;
  readonly stretch: number;
};

/** What a fault does at once, and how it ends. */
type Begun = { readonly detail: Detail; readonly end: (() => void) | null };
/** It shows later, by itself. */
const LATER = 'later';

/** What a person has moved aside is no part of what is put back. */
const isNotAside = (name: string): boolean => !name.startsWith('quarantine-');

const PORTS_MAX = 400;
const FAILPOINT_TIMES_MAX = 4;
/** Those that a simulated daemon can come to. */
const POINTS = (Object.keys(FAILPOINTS) as FailpointName[]).filter(
  (name) => !name.startsWith('migration.') && name !== 'journal.during_prune',
);
const DRIFT_WITHIN = 0.0045;
const DRIFT_BEYOND = 0.05;
const AIM_WAITS_MS = 90_000;
/** Two clocks that are not so far off are within what control takes of each other. */
const FAR_OFF_MS = (CLOCK_SKEW_SECONDS * 1_000) / 2;

export class Faults {
  readonly #parts: Parts;
  readonly #ends = new Map<number, () => void>();
  #isOver = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  begin({ kind, host, durationMs, seed }: PlannedFault): void {
    if (this.#isOver) return;
    const { agenda, control, hosts, nextFaultId } = this.#parts;
    const node = host === null ? control : (hosts[host] ?? control);
    const faultId = nextFaultId();
    const random = new FakeRandom(seed);
    const begun = this.#do(kind, node, random, { durationMs, faultId });
    if (begun === null || begun === LATER) return;
    const { detail, end } = begun;
    this.#say(kind, end === null ? 'once' : 'begun', faultId, this.#nodesOf(kind, node), detail);
    if (end === null) return;
    this.#ends.set(faultId, () => {
      end();
      this.#say(kind, 'ended', faultId, this.#nodesOf(kind, node), {});
    });
    agenda.after(durationMs, () => this.#end(faultId));
  }

  /** Whatever still goes on ends; nothing begins any more. */
  heal(): void {
    this.#isOver = true;
    for (const faultId of this.#ends.keys()) this.#end(faultId);
    const { network, control, hosts } = this.#parts;
    network.heal();
    for (const node of [control, ...hosts]) this.#setClock(node);
    for (const node of [control, ...hosts]) {
      node.isHeldDown = false;
      if (!node.hasLife) node.restartSoon(1_000);
    }
  }

  /** Somebody sets a clock that is far off: control hears nobody whose time is another. */
  #setClock({ machine, name }: Pick<DaemonNode, 'machine' | 'name'>): void {
    const { agenda, log, nextFaultId } = this.#parts;
    const { suspendedUntilMs } = machine;
    if (suspendedUntilMs > agenda.nowMs)
      return void agenda.at(suspendedUntilMs, () => this.#setClock({ machine, name }));
    const before = machine.now();
    const byMs = EPOCH_WALL_MS + agenda.nowMs - before.wallMs;
    if (Math.abs(byMs) < FAR_OFF_MS) return;
    machine.stepWall(byMs);
    const { rate } = machine;
    log.add({ kind: 'clock_changed', node: name, before, after: machine.now(), rate });
    this.#say('wall_step', 'once', nextFaultId(), [name], { byMs, setRight: true });
  }

  #end(faultId: number): void {
    const end = this.#ends.get(faultId);
    this.#ends.delete(faultId);
    end?.();
  }

  #nodesOf(kind: FaultKind, node: DaemonNode): readonly NodeName[] {
    if (kind === 'partition' && node.name === CONTROL)
      return this.#parts.hosts.map(({ name }) => name);
    return [node.name];
  }

  #say(
    fault: FaultKind,
    stage: 'begun' | 'ended' | 'once',
    faultId: number,
    nodes: readonly NodeName[],
    detail: Detail,
  ): void {
    this.#parts.log.add({ kind: 'fault', fault, stage, faultId, nodes, detail });
  }

  /** `null`: it cannot be done just now. */
  #do(
    kind: FaultKind,
    node: DaemonNode,
    random: FakeRandom,
    planned: { readonly durationMs: number; readonly faultId: number },
  ): Begun | typeof LATER | null {
    switch (kind) {
      case 'message_loss':
      case 'message_delay':
      case 'message_reordering':
      case 'message_duplication':
      case 'one_way_cut':
      case 'half_open':
      case 'partition':
        return this.#network(kind, node, random);
      case 'crash':
      case 'lost_tail':
        return this.#crash(kind, node, random);
      case 'control_backup_restored':
      case 'host_backup_restored':
        return this.#backup(kind, node, random, planned);
      case 'clock_drift':
      case 'clock_jump':
      case 'wall_step':
      case 'suspend':
      case 'reboot':
        return this.#clock(kind, node, random);
      case 'key_rotation':
        return this.#rotateKeys(random);
      case 'journal_damaged':
        return this.#damage(node, random);
      case 'disk_full':
      case 'slow_disk':
      case 'disk_error':
        return this.#disk(kind, node, random);
      default:
        return null;
    }
  }

  #network(kind: FaultKind, node: DaemonNode, random: FakeRandom): Begun {
    const { network, hosts } = this.#parts;
    const names = this.#nodesOf(kind, node);
    const links = hosts
      .filter(({ name }) => names.includes(name))
      .map(({ name }) => network.link(name));
    const set = (
      change: Partial<(typeof links)[number]>,
      back: Partial<(typeof links)[number]>,
      detail: Detail,
    ): Begun => {
      for (const link of links) Object.assign(link, change);
      return { detail, end: () => links.forEach((link) => Object.assign(link, back)) };
    };
    switch (kind) {
      case 'message_loss': {
        const lossShare = 0.1 + random.unit() * 0.6;
        return set({ lossShare }, { lossShare: 0 }, { lossShare });
      }
      case 'message_delay': {
        const delayMsMax = 1_000 + random.below(8_000);
        return set({ delayMsMax }, { delayMsMax: 0 }, { delayMsMax });
      }
      // What is late by different times overtakes each other.
      case 'message_reordering': {
        const delayMsMax = 40_000;
        return set(
          { delayMsMax, duplicateShare: 0.3 },
          { delayMsMax: 0, duplicateShare: 0 },
          { delayMsMax },
        );
      }
      case 'message_duplication': {
        const duplicateShare = 0.2 + random.unit() * 0.8;
        return set({ duplicateShare }, { duplicateShare: 0 }, { duplicateShare });
      }
      case 'half_open':
        return set({ halfOpen: true }, { halfOpen: false }, {});
      case 'one_way_cut':
        return random.unit() < 0.5
          ? set({ toControlCut: true }, { toControlCut: false }, { direction: 'to_control' })
          : set({ toHostCut: true }, { toHostCut: false }, { direction: 'to_host' });
      default:
        return set(
          { toControlCut: true, toHostCut: true },
          { toControlCut: false, toHostCut: false },
          { direction: 'both' },
        );
    }
  }

  #crash(kind: FaultKind, node: DaemonNode, random: FakeRandom): Begun | null {
    const isPowerLoss = kind === 'lost_tail';
    if (!node.hasLife) return null;
    const draw = random.unit();
    if (draw < 0.3) {
      this.#parts.agenda.after(0, () => node.crash(null, isPowerLoss));
      return { detail: { aim: 'now' }, end: null };
    }
    const name = POINTS[random.below(POINTS.length)] ?? 'journal.after_commit';
    const isAtPoint = draw < 0.7 && node.name !== CONTROL;
    const aim = isAtPoint
      ? ({ kind: 'failpoint', name, nth: 1 + random.below(FAILPOINT_TIMES_MAX) } as const)
      : ({ kind: 'port', nth: 1 + random.below(PORTS_MAX) } as const);
    node.aimCrash(aim, isPowerLoss);
    // A point that is not come to is as good as any other moment.
    const { number } = node.life() ?? { number: 0 };
    const { agenda, stretch } = this.#parts;
    agenda.after(AIM_WAITS_MS * stretch, () => {
      if (!this.#isOver && node.life()?.number === number) node.crash('aim missed', isPowerLoss);
    });
    return { detail: { aim: isAtPoint ? name : 'port', nth: aim.nth }, end: null };
  }

  /** Copied now, as a person does; put back later, and that is the fault. */
  #backup(
    kind: FaultKind,
    node: DaemonNode,
    random: FakeRandom,
    { durationMs, faultId }: { readonly durationMs: number; readonly faultId: number },
  ): typeof LATER | null {
    if (!node.hasLife) return null;
    const { agenda } = this.#parts;
    const copy = node.disk.copy();
    const isWhole = kind === 'host_backup_restored' || random.unit() < 0.4;
    const detail = { copiedAtMs: agenda.nowMs, isWhole };
    agenda.after(durationMs, () => {
      if (this.#isOver) return;
      this.#say(kind, 'once', faultId, [node.name], detail);
      node.crash('put back to an old copy', false);
      node.disk.putBack(copy, isWhole ? isNotAside : isStoreFile);
      node.restartSoon();
    });
    return LATER;
  }

  /** While it is down: what it finds when it comes up is not what it wrote. */
  #damage(node: DaemonNode, random: FakeRandom): Begun | null {
    const host = this.#parts.hosts.find(({ name }) => name === node.name);
    if (host === undefined || !host.hasLife) return null;
    host.crash('its journal is damaged', false);
    const detail = host.damageJournal(random);
    return detail === null ? null : { detail, end: null };
  }

  #rotateKeys(random: FakeRandom): Begun | null {
    const { control } = this.#parts;
    if (!control.changeKeys(random.bytes(SEED_BYTES))) return null;
    return { detail: {}, end: () => {} };
  }

  #clock(kind: FaultKind, node: DaemonNode, random: FakeRandom): Begun {
    const { machine } = node;
    const { stretch } = this.#parts;
    const changed = (change: () => void): void => {
      const before = machine.now();
      change();
      this.#parts.log.add({
        kind: 'clock_changed',
        node: node.name,
        before,
        after: machine.now(),
        rate: machine.rate,
      });
    };
    switch (kind) {
      case 'clock_drift': {
        // Two clocks that both drift within half the bound are within it of each other.
        const isBeyond = random.unit() < 0.2;
        const most = isBeyond ? DRIFT_BEYOND : DRIFT_WITHIN;
        const rate = 1 + (random.unit() * 2 - 1) * most;
        changed(() => machine.setRate(rate));
        return { detail: { rate, isBeyond }, end: () => changed(() => machine.setRate(1)) };
      }
      case 'clock_jump': {
        // A host whose clock is further off is refused until somebody sets it: two of these may do that.
        const byMs = 1_000 + random.below(180_000);
        changed(() => machine.jump(byMs));
        return { detail: { byMs }, end: null };
      }
      case 'wall_step': {
        const byMs = random.below(240_000) - 120_000;
        changed(() => machine.stepWall(byMs));
        return { detail: { byMs }, end: null };
      }
      case 'suspend': {
        const durationMs = (2_000 + random.below(180_000)) * stretch;
        changed(() => machine.suspend(durationMs));
        return { detail: { durationMs }, end: null };
      }
      default: {
        node.crash('reboot', random.unit() < 0.5);
        changed(() => machine.reboot());
        return { detail: {}, end: null };
      }
    }
  }

  #disk(kind: FaultKind, node: DaemonNode, random: FakeRandom): Begun {
    switch (kind) {
      case 'disk_full': {
        const before = node.freeBytes;
        const freeBytes = random.unit() < 0.5 ? 32 * 1024 ** 2 : 1024 ** 2;
        node.freeBytes = freeBytes;
        return { detail: { freeBytes }, end: () => void (node.freeBytes = before) };
      }
      case 'slow_disk': {
        const slowMs =
          random.unit() < 0.7 ? 200 + random.below(2_000) : 10_000 + random.below(30_000);
        node.slowMs = slowMs;
        return { detail: { slowMs }, end: () => void (node.slowMs = 0) };
      }
      default: {
        const failure = random.unit() < 0.5 ? 'before' : 'after';
        node.diskFailure = failure;
        return { detail: { failure }, end: null };
      }
    }
  }
}
