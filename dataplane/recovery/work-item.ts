/** An operation as a line of the worklist of unknown outcomes. */
import type { Instant } from '../../shared/core/time.ts';
import type { WorkItem } from '../../shared/wire/reconciliation-api.ts';
import { shown, unreported, type StoredOperation } from '../core/operation-record.ts';
import { claimAt, onUnknownOf, reconciliationOf } from '../core/reconciliation.ts';

export function workItemOf(operation: StoredOperation, now: Instant): WorkItem {
  const terms = onUnknownOf(operation);
  const { settleKey: _key, ...reconciliation } = reconciliationOf(operation);
  return {
    operationId: operation.operationId,
    app: operation.app,
    action: operation.action,
    principal: operation.principal,
    resourceId: operation.resource.id,
    rule: operation.rule,
    state: operation.state,
    reason: operation.reason,
    attempt: operation.attempt,
    admittedAtMs: operation.admittedAtMs,
    deadlineAtMs: operation.deadlineAtMs,
    unreported: unreported(operation).map(shown),
    triesMax: terms.strategy === 'human' ? null : terms.attempts,
    ...reconciliation,
    claim: claimAt(reconciliation, now),
    outcome: operation.outcome,
  };
}
