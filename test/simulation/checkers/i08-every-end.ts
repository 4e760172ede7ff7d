/**
 * I8: every accepted operation ends, and truthfully.
 *
 * E1  After the faults everything comes to rest within the bound; at the end no deadline has passed
 *     over an operation that is not over.
 * E2  Each entry leads from the state before it to one that the table of transitions allows, and the
 *     record is what its last entry made it.
 * E3  Done means known: nothing succeeds or fails on an attempt's word with an effect unreported.
 *     What a lost worker, a lost control or a deadline leaves open is `unknown`, with a reason.
 * E4  Nothing is ended before its time (`early-ends.ts`).
 * E5  What a probe settled is what was said and what was done (`probed.ts`).
 */
import { MINUTE_MS } from '../../../shared/core/time.ts';
import type {
  Effect,
  JournalEvent,
  OperationState,
  Outcome,
} from '../../../shared/wire/operation.ts';
import { SETTLED_STATES } from '../../../dataplane/core/operation-record.ts';
import type { Checker } from '../history.ts';
import { eventsOf } from '../history-view.ts';
import { effectIn } from './acknowledged.ts';
import { checkEarlyEnds } from './early-ends.ts';
import { Findings } from './findings.ts';
import type { JournalLife } from './journal-life.ts';
import { isLawful, stateAfter } from './lifecycle.ts';
import { checkProbed } from './probed.ts';
import { worldOf, type World } from './world.ts';

/** The custodian works off what is due at a rate, and clocks may have been set. */
const OVERDUE_MS = 2 * MINUTE_MS;

export const i08EveryEnd: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I8');
  const { liveness } = history.final;
  findings.expect(
    liveness.isSettled,
    () =>
      `${liveness.tookMs} ms after all faults had ended (bound ${liveness.boundMs} ms) there is no rest: ${liveness.unsettled.join('; ')}`,
    () => eventsOf(history, 'phase').map(({ seq }) => seq),
  );
  for (const life of world.lives) {
    if (life.journal.damage !== null) continue;
    for (const [operationId, entries] of life.entries)
      if (operationId !== '') checkLife(life, operationId, entries, findings);
    checkEarlyEnds(world, life, findings);
    checkProbed(world, life, findings);
    if (!life.journal.isGivenUp) checkOverdue(world, life, findings);
  }
  return findings.verdict();
};

function isOver(state: OperationState): boolean {
  return state === 'unknown' || SETTLED_STATES.has(state);
}

/** E1. */
function checkOverdue({ history }: World, life: JournalLife, findings: Findings): void {
  const last = eventsOf(history, 'host_state').findLast(({ host }) => host === life.host);
  if (last === undefined) return;
  const { wallMs, bootId, bootMs } = last.clock;
  for (const { operationId, state, deadlineAtMs, deadlineBoot } of life.journal.operations) {
    const lateMs =
      deadlineBoot.bootId === bootId ? bootMs - deadlineBoot.bootMs : wallMs - deadlineAtMs;
    findings.expect(
      isOver(state) || lateMs < OVERDUE_MS,
      () => `${operationId} of ${life.host} is ${state}, ${lateMs} ms after its deadline`,
      () => [last.seq],
    );
  }
}

/** E2, E3. */
function checkLife(
  { host, operations, journal }: JournalLife,
  operationId: string,
  entries: readonly JournalEvent[],
  findings: Findings,
): void {
  const [first] = entries;
  if (first?.kind !== 'admitted') {
    findings.expect(
      journal.prunedSeq > 0,
      () => `${operationId} of ${host} has entries and none that admits it`,
      () => [],
    );
    return;
  }
  let state = stateAfter(first);
  const effects = new Map<string, Effect>();
  for (const entry of entries.slice(1)) {
    const next = stateAfter(entry);
    const from = state;
    findings.expect(
      isLawful(from, entry),
      () =>
        `entry ${entry.seq} of ${host}: ${operationId} was ${from}, and ${entry.kind} made it ${next}`,
      () => [],
    );
    noteEffects({ host, operationId, entry }, effects, findings);
    checkTruth({ host, operationId, entry, state: next, from }, effects, findings);
    state = next;
  }
  const recorded = operations.get(operationId);
  findings.expect(
    recorded?.state === state,
    () =>
      `${operationId} of ${host} is recorded as ${recorded?.state}, and its entries make it ${state}`,
    () => [],
  );
}

type Place = {
  readonly host: string;
  readonly operationId: string;
  readonly entry: JournalEvent;
};

/** E2: an entry that lists all effects changes none of them but from begun to unknown. */
function noteEffects(
  { host, operationId, entry }: Place,
  effects: Map<string, Effect>,
  findings: Findings,
): void {
  const one = effectIn(entry);
  if (one !== null) effects.set(one.name, one);
  for (const effect of (entry.body['effects'] as readonly Effect[] | undefined) ?? []) {
    const before = effects.get(effect.name)?.state;
    findings.expect(
      effect.state === before || (before === 'begun' && effect.state === 'unknown'),
      () =>
        `entry ${entry.seq} of ${host}: effect ${effect.name} of ${operationId} is ${effect.state}, and its entries make it ${before}`,
      () => [],
    );
    effects.set(effect.name, effect);
  }
}

/** E3. */
function checkTruth(
  at: Place & {
    readonly from: OperationState;
    readonly state: OperationState;
  },
  effects: ReadonlyMap<string, Effect>,
  findings: Findings,
): void {
  const { host, operationId, entry, state, from } = at;
  if (state === from || !isOver(state)) return;
  const open = [...effects.values()].find(
    (effect) => effect.state === 'begun' || effect.state === 'unknown',
  );
  const outcome = entry.body['outcome'] as Outcome | undefined;
  const isSettledByOthers = entry.body['resolved'] === true || outcome?.provenance === 'verified';
  const compensated =
    from === 'unknown' && state === 'failed' && outcome?.provenance !== 'asserted';
  if (state !== 'unknown') {
    findings.expect(
      open === undefined || isSettledByOthers || compensated,
      () =>
        `entry ${entry.seq} of ${host}: ${operationId} ended as ${state} (${String(entry.body['reason'])}), and effect ${open?.name} is ${open?.state}`,
      () => [],
    );
    return;
  }
  findings.expect(
    typeof entry.body['reason'] === 'string',
    () => `entry ${entry.seq} of ${host}: ${operationId} became unknown without a reason`,
    () => [],
  );
}
