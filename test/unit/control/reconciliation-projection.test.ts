/** What a sidecar writes about an unknown outcome, as control reads and shows it. */
import { expect, test } from 'vitest';
import {
  projectEvent,
  type ProjectedOperation,
} from '../../../control/core/operation-projection.ts';
import { readEvent } from '../../../control/reports/event-reader.ts';
import { applyLifecycleEvent } from '../../../dataplane/core/operation-lifecycle.ts';
import type { LifecycleEvent, StoredOperation } from '../../../dataplane/core/operation-record.ts';
import { NOW } from '../../fakes/stored-operation.ts';
import {
  COMPENSATE,
  PROBE,
  RETRY,
  claimed,
  tryBegun,
  tryEnded,
  underWay,
} from '../../fakes/unknown-operation.ts';

const LOST: LifecycleEvent = { kind: 'lose_worker', attempt: 1 };

/** Every entry that those events make goes up; what control then knows, and of which kinds they were. */
function reported(record: StoredOperation, events: readonly LifecycleEvent[]) {
  const source = { hostId: record.hostId, hostEpoch: 1 };
  let operation = record;
  let known = {
    ...record,
    reconciliation: undefined,
    resourceId: record.resource.id,
    hostEpoch: 1,
    lastSeq: 1,
  } as unknown as ProjectedOperation;
  const kinds: string[] = [];
  for (const event of events) {
    const result = applyLifecycleEvent(operation, event, NOW);
    if (!result.ok || result.note === null) throw new Error(JSON.stringify(result));
    ({ operation } = result);
    const { kind, body } = result.note;
    kinds.push(kind);
    const reading = readEvent({
      seq: known.lastSeq + 1,
      atMs: NOW.wallMs,
      kind,
      operationId: operation.operationId,
      outageId: null,
      bodyText: JSON.stringify(body),
      previousHash: '0'.repeat(64),
      hash: '1'.repeat(64),
    });
    if (!reading.ok) throw new Error(reading.problem);
    const projected = projectEvent(known, reading.event, source);
    if (projected.kind !== 'operation') throw new Error(projected.kind);
    known = projected.operation;
  }
  return { known, kinds };
}

test('I12: each try, claim and release is shown, and what a probe found with its evidence', () => {
  const { known, kinds } = reported(underWay(PROBE), [
    LOST,
    claimed('ann'),
    { kind: 'release', holder: 'ann', force: false },
    tryBegun(),
    tryEnded(),
    tryBegun(),
    tryEnded({ number: 2, verdict: 'succeeded', detail: 'found', evidence: 'line 7' }),
  ]);
  expect(kinds).toEqual([
    'unknown',
    'reconciliation_claimed',
    'reconciliation_released',
    'reconciliation_try_begun',
    'reconciliation_try_ended',
    'reconciliation_try_begun',
    'succeeded',
  ]);
  expect(known).toMatchObject({
    state: 'succeeded',
    outcome: { provenance: 'verified', by: 'probe', evidence: 'line 7' },
    reconciliation: { strategy: 'probe', tries: 2, claim: null },
  });
});

test('I12: who holds the claim, what undoes it, and that nothing more is tried', () => {
  const held = reported(underWay(PROBE), [LOST, claimed('ann')]).known;
  expect(held.reconciliation?.claim).toMatchObject({ holder: 'ann', app: 'demo' });
  const undone = reported(underWay(COMPENSATE), [
    LOST,
    tryBegun({ strategy: 'compensate' }),
    { kind: 'link_compensation', number: 1, operationId: 'op_2' },
    { kind: 'leave_to_person', reason: 'compensation_failed' },
  ]).known;
  expect(undone).toMatchObject({
    state: 'unknown',
    reconciliation: { compensatedBy: 'op_2', leftToPerson: 'compensation_failed' },
  });
});

test('what is run again has no outcome any more', () => {
  const { known, kinds } = reported(underWay(RETRY), [LOST, tryBegun({ strategy: 'retry' })]);
  expect(kinds).toEqual(['unknown', 'retried']);
  expect(known).toMatchObject({ state: 'accepted', outcome: null, reason: 'unknown_run_again' });
});
