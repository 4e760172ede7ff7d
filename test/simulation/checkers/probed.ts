/**
 * What probes settled (E5 of I8), held to what the other side said and to what really was done: who was
 * asked and did not answer, or did not know, has settled nothing.
 */
import type { JournalEvent, Outcome } from '../../../shared/wire/operation.ts';
import type { Reconciliation } from '../../../shared/wire/reconciliation.ts';
import type { EventOf } from '../history.ts';
import { eventsOf } from '../history-view.ts';
import type { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import type { World } from './world.ts';

type Asked = {
  readonly probes: ReadonlyMap<string, readonly EventOf<'probe_answered'>[]>;
  readonly arrivals: ReadonlyMap<string, readonly EventOf<'effect_arrived'>[]>;
};

const asked = new WeakMap<World, Asked>();

function askedIn(world: World): Asked {
  const known = asked.get(world);
  if (known !== undefined) return known;
  const made = {
    probes: Map.groupBy(eventsOf(world.history, 'probe_answered'), byOperation),
    arrivals: Map.groupBy(eventsOf(world.history, 'effect_arrived'), byOperation),
  };
  asked.set(world, made);
  return made;
}

const byOperation = ({ operationId }: { readonly operationId: string }): string => operationId;

export function checkProbed(world: World, life: JournalLife, findings: Findings): void {
  const { probes, arrivals } = askedIn(world);
  for (const [operationId, entries] of life.entries) {
    const its = probes.get(operationId) ?? [];
    checkRecorded(life, its, entries, findings);
    for (const entry of entries) {
      if (!isSettledByProbe(entry)) continue;
      const done = (arrivals.get(operationId) ?? []).filter(
        ({ verdict }) => verdict === 'taken' || verdict === 'taken_before',
      );
      checkSettled(life, entry, { its, done }, findings);
    }
  }
}

function isSettledByProbe({ kind, body }: JournalEvent): boolean {
  const outcome = body['outcome'] as Outcome | null | undefined;
  return outcome?.provenance === 'verified' && body['reason'] === `probe_${kind}`;
}

/** A try is on disk before it is made: in the journal of that moment, whenever the question arrives. */
function checkRecorded(
  life: JournalLife,
  probes: readonly EventOf<'probe_answered'>[],
  entries: readonly JournalEvent[],
  findings: Findings,
): void {
  for (const { operationId, number, askedMs, seq } of probes) {
    if (!isHeldIn(life, askedMs) || life.journal.prunedSeq > 0) continue;
    const isThere = entries.some(
      ({ kind, body }) =>
        kind === 'reconciliation_try_begun' &&
        (body['reconciliation'] as Reconciliation).tries === number,
    );
    findings.expect(
      isThere,
      () => `${life.host} asked about ${operationId} in try ${number}, which it has not recorded`,
      () => [seq],
    );
  }
}

function checkSettled(
  { host, operations }: JournalLife,
  { seq, kind, operationId }: JournalEvent,
  {
    its,
    done,
  }: {
    readonly its: readonly EventOf<'probe_answered'>[];
    readonly done: readonly EventOf<'effect_arrived'>[];
  },
  findings: Findings,
): void {
  const about = `entry ${seq} of ${host}: ${operationId} ${kind} as verified`;
  const said = its.filter(({ outcome }) => outcome === kind);
  findings.expect(
    said.length > 0,
    () =>
      `${about}, and whoever was asked said ${its.map(({ outcome }) => outcome).join(', ') || 'nothing'}`,
    () => its.map((probe) => probe.seq),
  );
  const declared = Object.keys(operations.get(operationId ?? '')?.effectTerms ?? {});
  const missing = declared.filter((name) => !done.some(({ effect }) => effect === name));
  findings.expect(
    kind === 'succeeded' ? missing.length === 0 : done.length === 0,
    () =>
      kind === 'succeeded'
        ? `${about}, and no target has done ${missing.join(', ')}`
        : `${about}, and ${done[0]?.target} has done ${done[0]?.effect}`,
    () => [...said.map((probe) => probe.seq), ...done.map((arrival) => arrival.seq)],
  );
}
