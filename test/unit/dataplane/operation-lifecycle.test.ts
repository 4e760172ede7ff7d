import { describe, expect, test } from 'vitest';
import type { OwnershipVerdict } from '../../../shared/core/lease.ts';
import type { Instant } from '../../../shared/core/time.ts';
import { OPERATION_STATES, type OperationState } from '../../../shared/wire/operation.ts';
import { TRANSITIONS, applyLifecycleEvent } from '../../../dataplane/core/operation-lifecycle.ts';
import type { LifecycleEvent, StoredOperation } from '../../../dataplane/core/operation-record.ts';
import {
  LATE,
  NOW,
  begin,
  effect,
  executing,
  operation,
  report,
  settle,
  start,
} from '../../fakes/stored-operation.ts';
import { RECONCILIATION_EVENTS, RECONCILIATION_VARIANTS } from '../../fakes/unknown-operation.ts';
import { approvalWord, asked, pendingApproval } from '../../fakes/stored-approval.ts';

function after(record: StoredOperation, event: LifecycleEvent, now = NOW): StoredOperation {
  const result = applyLifecycleEvent(record, event, now);
  if (!result.ok) throw new Error(`${result.code}: ${result.detail}`);
  return result.operation;
}

function codeOf(record: StoredOperation, event: LifecycleEvent, now = NOW): string | null {
  const result = applyLifecycleEvent(record, event, now);
  return result.ok ? null : result.code;
}

/** Each word that control can have about the request of `awaited`, and each use of an approval. */
function approvalWords(): LifecycleEvent[] {
  const uses = [
    { kind: 'fits', policyRevision: 2 },
    { kind: 'refused', policyRevision: 2, code: 'denied', detail: 'no' },
    { kind: 'ask_anew', policyRevision: 2, rule: 'r', asked: asked('apr_2') },
  ] as const;
  return [
    ...uses.map((use) => approvalWord('approved', { use })),
    approvalWord('denied'),
    approvalWord('withdrawn'),
  ];
}

/** Its approval is the one thing that a wait cannot be without. */
function awaited(state: OperationState, { onControlLoss }: Partial<StoredOperation>) {
  return {
    reason: onControlLoss === 'pause' ? 'control_lost' : null,
    approval: pendingApproval({
      state: state === 'awaiting_approval' ? 'pending' : 'approved',
      onControlLoss: onControlLoss === 'abort' ? 'fail' : 'wait',
    }),
  };
}

describe('the transition table', () => {
  const events: LifecycleEvent[] = [
    start(),
    start({ supersede: true }),
    begin(),
    begin({ name: 'send' }),
    settle(),
    settle({ outcome: 'unknown' }),
    { kind: 'save_checkpoint', attempt: 1, checkpoint: { at: 3 } },
    report(),
    report({ outcome: 'failed' }),
    report({ outcome: 'unknown' }),
    { kind: 'cancel', reason: 'asked' },
    { kind: 'lose_worker', attempt: 1 },
    { kind: 'lose_control' },
    { kind: 'revoke_authority' },
    { kind: 'regain_control' },
    {
      kind: 'refuse_resume',
      refusal: { code: 'denied', message: 'no', policyRevision: 2, rule: 'r' },
    },
    {
      kind: 'refuse_effect',
      attempt: 1,
      name: 'charge',
      refusal: { code: 'recheck_refused', message: 'no', policyRevision: 2, rule: 'r' },
    },
    { kind: 'pass_deadline' },
    { kind: 'expire_approval' },
    ...approvalWords(),
    {
      kind: 'resolve',
      outcome: 'succeeded',
      provenance: 'verified',
      reason: 'looked',
      result: null,
    },
    { kind: 'resolve', outcome: 'failed', provenance: 'verified', reason: 'looked', result: null },
    ...RECONCILIATION_EVENTS,
  ];
  const variants: Partial<StoredOperation>[] = [];
  for (const attempt of [0, 1]) {
    for (const onWorkerLoss of ['retry', 'unknown', 'fail'] as const) {
      for (const onControlLoss of ['finish', 'pause', 'abort'] as const) {
        const onRevoke = onControlLoss;
        for (const effects of [
          [],
          [effect()],
          [effect({ state: 'succeeded' })],
          [effect({ state: 'unknown' })],
          [effect({ name: 'send', idempotent: true })],
        ]) {
          for (const effectTerms of [operation().effectTerms, {}])
            variants.push({
              attempt,
              onWorkerLoss,
              onControlLoss,
              onRevoke,
              effects,
              effectTerms,
            });
        }
      }
    }
  }

  variants.push(...RECONCILIATION_VARIANTS);

  /** Every change of record that the code makes, over all states, events and variants. */
  const seen = new Map<string, Set<OperationState>>();
  for (const state of OPERATION_STATES) {
    for (const event of events) {
      for (const variant of variants) {
        // O10: what waits has never begun.
        const hasBegun = variant.attempt !== 0 || variant.effects?.length !== 0;
        if (state === 'awaiting_approval' && hasBegun) continue;
        for (const now of [NOW, LATE]) {
          const record = operation({ ...variant, state, ...awaited(state, variant) });
          const result = applyLifecycleEvent(record, event, now);
          if (!result.ok || result.note === null) continue;
          const key = `${state} ${event.kind}`;
          seen.set(key, (seen.get(key) ?? new Set()).add(result.operation.state));
        }
      }
    }
  }

  test('lists every change that the code makes, and the code makes every change it lists', () => {
    const listed = new Map<string, Set<OperationState>>();
    for (const [state, row] of Object.entries(TRANSITIONS)) {
      for (const [kind, targets] of Object.entries(row))
        listed.set(`${state} ${kind}`, new Set(targets));
    }
    const rows = (changes: ReadonlyMap<string, ReadonlySet<OperationState>>): string[] =>
      [...changes].flatMap(([key, targets]) => [...targets].map((target) => `${key} ${target}`));
    const inOrder = (a: string, b: string): number => a.localeCompare(b);
    expect(rows(seen).toSorted(inOrder)).toEqual(rows(listed).toSorted(inOrder));
  });

  test('I8: an end is final: only what is unknown can still be settled', () => {
    for (const state of ['succeeded', 'failed', 'cancelled', 'expired'] as const) {
      for (const targets of Object.values(TRANSITIONS[state])) expect(targets).toEqual([state]);
    }
  });
});

describe('I9: one effect, one outcome', () => {
  test('a recorded success is returned to a retry instead of being run again', () => {
    const record = executing({
      attempt: 2,
      effects: [effect({ state: 'succeeded', result: { id: 7 } })],
    });
    const result = applyLifecycleEvent(record, begin({ attempt: 2 }), NOW);
    expect(result).toMatchObject({ ok: true, replayed: true, note: null });
  });

  test('an effect begun by an earlier attempt and not reported is not begun again', () => {
    expect(codeOf(executing({ attempt: 2, effects: [effect()] }), begin({ attempt: 2 }))).toBe(
      'effect_unknown',
    );
  });

  test('unless its rule declares it idempotent', () => {
    const record = executing({ attempt: 2, effects: [effect({ name: 'send', idempotent: true })] });
    expect(after(record, begin({ attempt: 2, name: 'send' })).effects).toMatchObject([
      { name: 'send', state: 'begun', attempt: 2 },
    ]);
  });

  test('a failed effect did not happen, and may be begun again', () => {
    expect(codeOf(executing({ effects: [effect({ state: 'failed' })] }), begin())).toBeNull();
  });

  test('the same call, its answer lost, gets the same answer; another call does not', () => {
    const begun = after(executing(), begin({ key: 'call-1' }));
    expect(applyLifecycleEvent(begun, begin({ key: 'call-1' }), NOW)).toMatchObject({
      ok: true,
      note: null,
    });
    expect(codeOf(begun, begin({ key: 'call-2' }))).toBe('effect_in_progress');
    expect(codeOf(begun, begin({ key: null }))).toBe('effect_in_progress');
  });

  test('a stale attempt begins nothing', () => {
    expect(codeOf(executing({ attempt: 2 }), begin({ attempt: 1 }))).toBe('attempt_stale');
    expect(codeOf(executing({ attempt: 2 }), begin({ attempt: 3 }))).toBe('attempt_not_found');
  });

  test('a recorded result does not change', () => {
    const record = executing({ effects: [effect({ state: 'succeeded', result: 1 })] });
    expect(codeOf(record, settle({ outcome: 'failed' }))).toBe('effect_settled');
    expect(codeOf(record, settle({ outcome: 'succeeded', result: 1 }))).toBeNull();
  });

  test('what an attempt did is recorded even after the operation has ended', () => {
    const record = operation({
      state: 'unknown',
      attempt: 1,
      effects: [effect({ state: 'unknown' })],
    });
    expect(after(record, settle()).effects).toMatchObject([{ state: 'succeeded' }]);
  });
});

describe('I8: every accepted operation ends, and none is done when that is not known', () => {
  test('an outcome needs every begun effect reported', () => {
    expect(codeOf(executing({ effects: [effect()] }), report())).toBe('effect_in_progress');
    expect(
      codeOf(executing({ effects: [effect({ state: 'unknown' })] }), report({ outcome: 'failed' })),
    ).toBe('effect_unknown');
    expect(after(executing({ effects: [effect()] }), report({ outcome: 'unknown' }))).toMatchObject(
      { state: 'unknown', effects: [{ state: 'unknown' }] },
    );
  });

  test('a worker lost inside an effect leaves its outcome unknown, whatever the rule says', () => {
    for (const onWorkerLoss of ['retry', 'unknown', 'fail'] as const) {
      const lost = after(executing({ onWorkerLoss, effects: [effect()] }), {
        kind: 'lose_worker',
        attempt: 1,
      });
      expect(lost).toMatchObject({ state: 'unknown', reason: 'worker_lost_in_effect_charge' });
    }
  });

  test('a worker lost between effects ends as its rule says', () => {
    const lose: LifecycleEvent = { kind: 'lose_worker', attempt: 1 };
    expect(after(executing({ onWorkerLoss: 'retry' }), lose).state).toBe('accepted');
    expect(after(executing({ onWorkerLoss: 'fail' }), lose).state).toBe('failed');
    expect(after(executing({ onWorkerLoss: 'unknown' }), lose).state).toBe('unknown');
    expect(after(executing({ onWorkerLoss: 'fail', effectTerms: {} }), lose).state).toBe('unknown');
  });

  test('a deadline that passes before anything was begun expires; inside an effect it is unknown', () => {
    expect(after(operation(), { kind: 'pass_deadline' }, LATE).state).toBe('expired');
    expect(after(executing(), { kind: 'pass_deadline' }, LATE).state).toBe('expired');
    expect(after(executing({ effects: [effect()] }), { kind: 'pass_deadline' }, LATE).state).toBe(
      'unknown',
    );
    expect(after(executing({ effectTerms: {} }), { kind: 'pass_deadline' }, LATE).state).toBe(
      'unknown',
    );
    expect(after(operation(), { kind: 'pass_deadline' }, NOW).state).toBe('accepted');
  });

  test('nothing new begins after the deadline: by the boot clock, after a reboot by the wall clock', () => {
    const wallAhead: Instant = { ...NOW, wallMs: 9_500_000 };
    const wallBack: Instant = { ...LATE, wallMs: 1_000 };
    const rebooted: Instant = { wallMs: 1_500_000, bootMs: 10, bootId: 'boot-2' };
    for (const now of [LATE, wallBack, rebooted]) {
      expect(codeOf(operation(), start(), now)).toBe('deadline_passed');
      expect(codeOf(executing(), begin(), now)).toBe('deadline_passed');
    }
    const oneBefore: Instant = { ...NOW, bootMs: 549_999 };
    const rebootedBefore: Instant = { ...rebooted, wallMs: 1_499_999 };
    for (const now of [oneBefore, rebootedBefore, wallAhead]) {
      expect(codeOf(operation(), start(), now)).toBeNull();
    }
  });

  test('onWorkerLoss: fail says failed only where nothing was begun', () => {
    const open = [effect({ name: 'send', idempotent: true })];
    const lose: LifecycleEvent = { kind: 'lose_worker', attempt: 1 };
    expect(after(executing({ onWorkerLoss: 'fail', effects: open }), lose).state).toBe('unknown');
    expect(after(executing({ onWorkerLoss: 'retry', effects: open }), lose).state).toBe('accepted');
  });

  test('an effect that only an object has by nature is declared by no rule', () => {
    for (const name of ['constructor', 'toString', 'hasOwnProperty']) {
      expect(codeOf(executing(), begin({ name }))).toBe('effect_undeclared');
    }
  });

  test('an unknown operation can be settled late by its attempt, or resolved by a person', () => {
    const record = operation({ state: 'unknown', reason: 'worker_lost', attempt: 1 });
    expect(after(record, report()).outcome).toMatchObject({ late: true, provenance: 'asserted' });
    const resolved = after(record, {
      kind: 'resolve',
      outcome: 'failed',
      provenance: 'verified',
      reason: 'ledger has no entry',
      result: null,
    });
    expect(resolved).toMatchObject({
      state: 'failed',
      outcome: { provenance: 'verified' },
      settledAtMs: NOW.wallMs,
    });
    expect(
      codeOf(executing(), {
        kind: 'resolve',
        outcome: 'failed',
        provenance: 'verified',
        reason: 'x',
        result: null,
      }),
    ).toBe('operation_not_unknown');
  });

  test('an effect under way cannot be called back', () => {
    expect(codeOf(executing({ effects: [effect()] }), { kind: 'cancel', reason: 'x' })).toBe(
      'effect_in_progress',
    );
    expect(after(executing(), { kind: 'cancel', reason: 'x' }).state).toBe('cancelled');
  });
});

describe('losing control', () => {
  test('follows what the rule said at admission', () => {
    const lose: LifecycleEvent = { kind: 'lose_control' };
    expect(after(operation({ onControlLoss: 'finish' }), lose).state).toBe('accepted');
    expect(after(operation({ onControlLoss: 'pause' }), lose).state).toBe('paused');
    expect(after(operation({ onControlLoss: 'abort' }), lose).state).toBe('cancelled');
    expect(after(executing({ onControlLoss: 'abort', effects: [effect()] }), lose).state).toBe(
      'unknown',
    );
  });

  test('a paused operation begins nothing, but what it did is still recorded', () => {
    const paused = operation({ state: 'paused', attempt: 1, effects: [effect()] });
    expect(codeOf(paused, start())).toBe('operation_paused');
    expect(codeOf(paused, begin({ name: 'send' }))).toBe('operation_paused');
    expect(after(paused, settle()).effects).toMatchObject([{ state: 'succeeded' }]);
  });
});

describe('I4: recheck: commit', () => {
  const recheck = { policyRevision: 4, stalenessMs: 5, endsBootMs: NOW.bootMs + 5_000 };

  test('no effect begins without control having been asked, whoever asks the writer', () => {
    const record = executing({ recheck: 'commit' });
    expect(codeOf(record, begin())).toBe('control_unreachable');
    expect(codeOf(record, begin({ name: 'send' }))).toBe('control_unreachable');
    expect(codeOf(record, begin({ recheck }))).toBeNull();
  });

  test('a refusal of an attempt that has been taken over, or is over, is not recorded', () => {
    const refusal = {
      code: 'recheck_refused',
      message: 'no',
      policyRevision: 4,
      rule: 'r',
    } as const;
    const event = { kind: 'refuse_effect', attempt: 1, name: 'charge', refusal } as const;
    expect(codeOf(executing({ attempt: 2 }), event)).toBe('attempt_stale');
    expect(codeOf(executing({ state: 'cancelled' }), event)).toBe('operation_settled');
  });
});

describe('I6: a step needs the lease of its attempt', () => {
  const owned = (epoch: number): OwnershipVerdict & { owned: true } => ({
    owned: true,
    epoch,
    inGrace: false,
    endsBootMs: 99_999,
  });
  const leased = (change: Partial<StoredOperation> = {}): StoredOperation =>
    operation({ leaseResource: 'orders/1', leaseEpoch: 5, ownershipMode: 'strict', ...change });

  test('an attempt carries the epoch under which it began', () => {
    expect(after(leased(), start({ ownership: owned(6) }))).toMatchObject({
      attempt: 1,
      attemptLeaseEpoch: 6,
    });
  });

  test('a lost lease, or one that came back at another epoch, stops the next effect', () => {
    const record = leased({ state: 'executing', attempt: 1, attemptLeaseEpoch: 5 });
    expect(codeOf(record, begin({ ownership: owned(5) }))).toBeNull();
    expect(codeOf(record, begin({ ownership: owned(7) }))).toBe('lease_lost');
    expect(codeOf(record, begin({ ownership: { owned: false, reason: 'lease_expired' } }))).toBe(
      'lease_lost',
    );
    expect(codeOf(record, begin({ ownership: null }))).toBe('lease_lost');
  });

  const ends: readonly (readonly [string, OwnershipVerdict | null])[] = [
    ['held', owned(5)],
    ['in_grace', { ...owned(5), inGrace: true }],
    ['lost', owned(7)],
    ['lost', { owned: false, reason: 'lease_expired' }],
    ['lost', { owned: false, reason: 'lease_absent' }],
    ['lost', null],
  ];

  test('an outcome is kept as reported, and says whether the lease was still held', () => {
    for (const state of ['accepted', 'executing', 'paused', 'unknown'] as const) {
      for (const outcome of ['succeeded', 'failed', 'unknown'] as const) {
        for (const [is, ownership] of ends) {
          const record = leased({ state, attempt: 1, attemptLeaseEpoch: 5 });
          const result = applyLifecycleEvent(record, report({ outcome, ownership }), NOW);
          if (!result.ok) throw new Error(result.detail);
          if (result.note === null) continue;
          const { operation: ended } = result;
          const otherwise = outcome === 'unknown' ? 'reported_unknown' : null;
          expect(ended).toMatchObject({ state: outcome, outcome: { outcome, ownership: is } });
          expect(ended.reason).toBe(is === 'lost' ? 'lease_lost_before_outcome' : otherwise);
          expect(result.note.body).toMatchObject({ outcome: { ownership: is } });
        }
      }
    }
  });

  test('a reason that the worker gave stays; where no lease was needed nothing is said of one', () => {
    const record = leased({ state: 'executing', attempt: 1, attemptLeaseEpoch: 5 });
    const told = after(record, report({ outcome: 'failed', reason: 'card declined' }));
    expect(told).toMatchObject({ reason: 'card declined', outcome: { ownership: 'lost' } });
    expect(after(executing(), report()).outcome).not.toHaveProperty('ownership');
  });
});

describe('attempts', () => {
  test('only one executes; a lost answer can be asked for again with its key', () => {
    const first = after(operation(), start({ key: 'k1' }));
    expect(first).toMatchObject({ state: 'executing', attempt: 1 });
    expect(applyLifecycleEvent(first, start({ key: 'k1' }), NOW)).toMatchObject({
      ok: true,
      note: null,
      replayed: true,
    });
    expect(codeOf(first, start({ key: 'k2' }))).toBe('attempt_in_progress');
    const second = after(
      { ...first, onWorkerLoss: 'retry' },
      start({ key: 'k2', supersede: true }),
    );
    expect(codeOf(second, start({ key: 'k1', supersede: true }))).toBe('attempt_stale');
  });

  test('an executing attempt is superseded only where its rule lets work be retried', () => {
    expect(codeOf(executing(), start({ supersede: true }))).toBe('attempt_in_progress');
    expect(after(executing({ onWorkerLoss: 'retry' }), start({ supersede: true }))).toMatchObject({
      attempt: 2,
      state: 'executing',
    });
  });
});
