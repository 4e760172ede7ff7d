/** An admission as the benchmarks of the journal itself write it, past HTTP and past any decision. */
import type { Journal } from '../../dataplane/journal/journal.ts';
import { makeId } from '../../shared/core/ids.ts';
import type { Instant } from '../../shared/core/time.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Admission } from '../../shared/wire/operation.ts';

const DEADLINE_MS = 43_200_000;

export function benchAdmission(
  number: number,
  own: Pick<Admission, 'hostId' | 'app' | 'idempotencyKey'> & Partial<Admission>,
  at: { readonly now: Instant; readonly random: Random },
): Parameters<Journal['admit']>[0] {
  const { now, random } = at;
  return {
    operationId: makeId('op', now.wallMs, random.bytes(16)),
    admission: {
      fingerprint: sha256Hex(own.idempotencyKey),
      principal: 'agent:bench',
      action: 'bench.charge',
      resource: { id: `order-${number}`, attributes: { shard: 's0' } },
      attributes: { amount: 20, currency: 'EUR' },
      policyRevision: 1,
      rule: 'rule-25',
      basis: 'cached',
      stalenessMs: 1_234,
      effectTerms: { charge: { idempotent: false, fencing: 'enforced' } },
      deadlineAtMs: now.wallMs + DEADLINE_MS,
      deadlineBoot: { bootId: now.bootId, bootMs: now.bootMs + DEADLINE_MS },
      ...own,
    },
    authorityEndsBootMs: Number.MAX_SAFE_INTEGER,
    now,
  };
}
