/** An operation that waits for an approval, as its host records it. */
import type { ApprovalAsked } from '../../shared/wire/approval.ts';
import type { SigningHost } from './signing-host.ts';
import { asked } from './stored-approval.ts';

export const WAITING_DIGEST = 'f'.repeat(64);

/** Under that number; not reported yet. Answers with the id of the request. */
export function recordWaiting(
  host: SigningHost,
  number: number,
  over: Partial<ApprovalAsked> = {},
): string {
  const requestId = `apr_${number}`;
  host.record(
    'admitted',
    {
      hostId: host.id,
      app: 'billing',
      idempotencyKey: `key-${number}`,
      fingerprint: WAITING_DIGEST,
      principal: 'agent:billing',
      action: 'payments.capture',
      resource: { id: 'order-1', attributes: {} },
      attributes: { amount: 700 },
      policyRevision: 1,
      rule: 'capture-payment',
      basis: 'cached',
      stalenessMs: 12,
      effectTerms: {},
      deadlineAtMs: 2,
      deadlineBoot: { bootId: 'boot-1', bootMs: 2 },
      approval: asked(requestId, over),
    },
    `op_${number}`,
  );
  return requestId;
}
