/**
 * Control in the model: what `control/daemon.ts` and `control/leases/lessor.ts` do around the
 * decisions of `control/core/`, with a store, a floor file and a copy of both that can be put back.
 * `lease-model-trace.test.ts` holds it against the real one.
 */
import {
  floorAtStart,
  judgeSeenEpoch,
  plausibleEpoch,
  raiseFloor,
  type Floor,
} from '../../control/core/floors.ts';
import { decideLeaseSync, type LeaseSync } from '../../control/core/lease-sync.ts';
import {
  grantorTermMs,
  type LeaseRecord,
  type Lessor,
} from '../../control/core/lease-transition.ts';
import type { SyncRequest } from '../../shared/wire/statements.ts';
import type { Laws } from './laws.ts';
import { DRIFT, RESOURCE, TTL_MS, type Rate } from './terms.ts';

export const TERM_MS = grantorTermMs({ ttlMs: TTL_MS, drift: DRIFT });

export type Store = {
  readonly run: number;
  readonly highestEpoch: number;
  readonly record: LeaseRecord | undefined;
};

/** What is on its disk. */
export type Disk = { readonly store: Store; readonly floor: Floor | null; readonly mark: number };

export type ControlSide = Disk & {
  readonly rate: Rate;
  readonly bootMs: number;
  readonly wallMs: number;
  readonly floor: Floor;
  readonly copy: Disk | null;
  readonly epochAtStart: number;
  readonly storedAtStart: number;
  readonly kind: 'restart' | 'rollback';
  readonly startedMs: number;
  readonly rollbackSinceMs: number;
  readonly unheard: readonly string[];
  /** Of this start; no other one has it. */
  readonly runId: number;
};

/** What does not end with a run, and which one it is. */
type Machine = Pick<ControlSide, 'rate' | 'bootMs' | 'wallMs' | 'copy' | 'runId'>;

/** Hosts that enrol in its first run are not waited for in it. */
export function newControl(machine: Omit<Machine, 'copy'>, laws: Laws): ControlSide {
  const store = { run: 0, highestEpoch: 0, record: undefined };
  return startRun({ ...machine, copy: null }, { store, floor: null, mark: 0 }, [], laws);
}

/** `beginRun` of the daemon. */
export function startRun(
  machine: Machine,
  disk: Disk,
  hosts: readonly string[],
  laws: Laws,
): ControlSide {
  const { rate, bootMs, wallMs, copy, runId } = machine;
  const { store } = disk;
  const state = { run: store.run, highestEpoch: store.highestEpoch };
  const remembered = laws.remembered(state, { floor: disk.floor, markedEpoch: disk.mark });
  const run = Math.max(store.run, remembered.floor?.run ?? 0) + 1;
  const begun = floorAtStart({ ...state, policyRevision: 0 }, remembered, { run, wallMs });
  const floor = laws.floorAtStart(begun, state);
  return {
    rate,
    bootMs,
    wallMs,
    copy,
    store: { ...store, run },
    floor,
    mark: disk.mark,
    epochAtStart: floor.epoch,
    storedAtStart: store.highestEpoch,
    kind: floor.recovering === 'no' ? 'restart' : 'rollback',
    startedMs: bootMs,
    rollbackSinceMs: bootMs,
    unheard: hosts,
    runId,
  };
}

export type HeardRequest = {
  readonly host: string;
  readonly leases: SyncRequest['leases'];
  readonly highWaterEpoch: number;
  /** Of the newest answer that the host has had. */
  readonly runId: number | null;
};

/** One sync, as the lessor takes it. */
export function takeSync(
  before: ControlSide,
  request: HeardRequest,
  laws: Laws,
): { readonly control: ControlSide; readonly decision: LeaseSync } {
  const seen = judged(endedRecovery(before, laws), laws.reported(request.highWaterEpoch));
  const { control } = seen;
  const { store } = control;
  const isOfThisRun = laws.isOfThisRun(request.runId === control.runId);
  const records = new Map(store.record === undefined ? [] : [[RESOURCE, store.record]]);
  const decision = decideLeaseSync(
    records,
    {
      holder: { hostId: request.host, hostEpoch: 1 },
      leases: request.leases,
      assigned: [],
      placed: new Map(),
      heldCount: 0,
      heldMax: 1_000,
      highestEpoch: Math.max(store.highestEpoch, control.epochAtStart, seen.epoch),
    },
    termsOf(control, laws, isOfThisRun ? request.host : null),
  );
  const highest = decision.highestEpoch;
  const isHigher = highest > store.highestEpoch;
  const written = decision.writes[0]?.record;
  const isGranted = decision.transitions.some(({ kind }) => kind === 'granted');
  const record = written !== undefined && isGranted ? laws.granted(written) : written;
  return {
    decision,
    control: {
      ...control,
      floor: (isHigher ? raiseFloor(control.floor, { epoch: highest }) : null) ?? control.floor,
      mark: isHigher ? highest : control.mark,
      store: { ...store, highestEpoch: highest, record: record ?? store.record },
      unheard: control.unheard.filter((host) => !isOfThisRun || host !== request.host),
    },
  };
}

function termsOf(control: ControlSide, laws: Laws, speaking: string | null): Lessor {
  const { bootMs, wallMs, store, kind, startedMs, floor } = control;
  return laws.terms({
    now: { bootMs, wallMs, bootId: 'control' },
    run: store.run,
    recovery: { kind, startedBootMs: startedMs },
    ttlMs: TTL_MS,
    drift: DRIFT,
    lockDelayMs: 0,
    longestTermMs: TERM_MS,
    heldSinceMs: heldSinceMs(control, speaking),
    disownedEpoch: floor.disownedEpoch,
  });
}

function heldSinceMs(control: ControlSide, speaking: string | null): number | null {
  if (control.kind === 'rollback') return control.rollbackSinceMs;
  const others = control.unheard.filter((host) => host !== speaking);
  return others.length > 0 ? control.startedMs : null;
}

function endedRecovery(control: ControlSide, laws: Laws): ControlSide {
  const { heldSinceMs: since, longestTermMs, now } = termsOf(control, laws, null);
  const isOver = now.bootMs >= (since ?? control.startedMs) + longestTermMs;
  if (control.kind !== 'rollback' || !isOver || control.floor.recovering === 'no') return control;
  return { ...control, floor: { ...control.floor, recovering: 'no' } };
}

function judged(
  control: ControlSide,
  reported: number,
): { readonly control: ControlSide; readonly epoch: number } {
  const { store, epochAtStart, storedAtStart } = control;
  const known = Math.max(store.highestEpoch, epochAtStart);
  const epoch = plausibleEpoch(reported, known, control.wallMs);
  if (epoch === null) return { control, epoch: 0 };
  const verdict = judgeSeenEpoch(epoch, {
    storedAtStart,
    epochAtStart,
    highest: store.highestEpoch,
  });
  if (verdict === 'above') {
    const since = { ...control, rollbackSinceMs: control.bootMs };
    return { control: disowning(since, epoch), epoch };
  }
  if (verdict === 'lost_before' && control.kind !== 'rollback')
    return { control: disowning(control, epochAtStart), epoch };
  return { control, epoch };
}

function disowning(control: ControlSide, epoch: number): ControlSide {
  const disownedEpoch = Math.max(epoch, control.floor.disownedEpoch);
  return {
    ...control,
    kind: 'rollback',
    floor: { ...control.floor, disownedEpoch, recovering: 'everything' },
  };
}
