/** Operations whose outcome is unknown, under each strategy, and what can befall them. */
import type { OnUnknown } from '../../shared/core/on-unknown.ts';
import type { LifecycleEvent, StoredOperation } from '../../dataplane/core/operation-record.ts';
import type { ReconciliationEvent } from '../../dataplane/core/reconciliation-event.ts';
import { effect, operation } from './stored-operation.ts';

const TRIES = { attempts: 3, intervalMs: 10_000 };
export const PROBE: OnUnknown = {
  strategy: 'probe',
  url: 'http://127.0.0.1:1/verify',
  method: 'POST',
  timeoutMs: 1_000,
  ...TRIES,
};
export const RETRY: OnUnknown = { strategy: 'retry', ...TRIES };
export const COMPENSATE: OnUnknown = {
  strategy: 'compensate',
  action: 'payments.refund',
  ...TRIES,
};
export const IDEMPOTENT_TERMS: StoredOperation['effectTerms'] = {
  send: { idempotent: true, fencing: 'none' },
};

/** Executing, with an effect under way: whatever loses its worker makes it unknown. */
export function underWay(
  onUnknown: OnUnknown | undefined,
  change: Partial<StoredOperation> = {},
): StoredOperation {
  const isRetry = onUnknown?.strategy === 'retry';
  return operation({
    state: 'executing',
    attempt: 1,
    effects: [isRetry ? effect({ name: 'send', idempotent: true }) : effect()],
    ...(isRetry ? { effectTerms: IDEMPOTENT_TERMS } : {}),
    ...(onUnknown === undefined ? {} : { onUnknown }),
    ...change,
  });
}

export const tryBegun = (
  change: Partial<LifecycleEvent & { kind: 'begin_try' }> = {},
): ReconciliationEvent => ({
  kind: 'begin_try',
  strategy: 'probe',
  by: null,
  unitRandom: 0.5,
  ...change,
});
export const tryEnded = (
  change: Partial<LifecycleEvent & { kind: 'end_try' }> = {},
): ReconciliationEvent => ({
  kind: 'end_try',
  number: 1,
  verdict: 'unknown',
  detail: 'no answer',
  result: null,
  evidence: null,
  isFinal: false,
  ...change,
});
export const claimed = (holder: string, ttlMs = 60_000): ReconciliationEvent => ({
  kind: 'claim',
  holder,
  app: 'demo',
  ttlMs,
});

export const RECONCILIATION_EVENTS: readonly LifecycleEvent[] = [
  tryBegun(),
  tryBegun({ strategy: 'retry' }),
  tryBegun({ strategy: 'compensate' }),
  tryEnded(),
  tryEnded({ verdict: 'succeeded' }),
  tryEnded({ verdict: 'failed' }),
  { kind: 'leave_to_person', reason: 'attempts_used' },
  { kind: 'link_compensation', number: 1, operationId: 'op_2' },
  { kind: 'compensated', operationId: 'op_2', provenance: 'asserted' },
  claimed('ann'),
  { kind: 'release', holder: 'ann', force: false },
];

const reconciliation: NonNullable<StoredOperation['reconciliation']> = {
  strategy: 'probe',
  sinceMs: 1,
  tries: 1,
  lastTry: {
    number: 1,
    strategy: 'probe',
    by: null,
    begunAtMs: 1,
    endedAtMs: null,
    verdict: null,
    detail: null,
  },
  nextTryAtMs: 5,
  leftToPerson: null,
  claim: null,
  compensatedBy: null,
};
const HELD = {
  holder: 'ann',
  app: 'demo',
  atMs: 1,
  endsAtMs: 10_000_000,
  endsBoot: { bootId: 'boot-1', bootMs: 10_000_000 },
};

export const RECONCILIATION_VARIANTS: readonly Partial<StoredOperation>[] = [
  PROBE,
  RETRY,
  COMPENSATE,
].flatMap((onUnknown) =>
  [{}, { claim: HELD }, { compensatedBy: 'op_2' }, { tries: 0, lastTry: null }].map((change) => ({
    attempt: 1,
    onUnknown,
    effectTerms: onUnknown.strategy === 'retry' ? IDEMPOTENT_TERMS : operation().effectTerms,
    reconciliation: { ...reconciliation, strategy: onUnknown.strategy, ...change },
  })),
);
