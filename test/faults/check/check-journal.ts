/** The journal itself: no gap, an unbroken chain, nothing twice, and each operation admitted in it. */
import { eventHash } from '../../../shared/platform/entry-hash.ts';
import { FIRST_PREVIOUS_HASH } from '../../../shared/wire/operation.ts';
import { ONCE_EFFECT } from '../history/workload.ts';
import { lie, type Lie } from './lie.ts';
import type { RecordedEvent, RecordedOperation } from './recorded.ts';

export type ChainHead = { readonly seq: number; readonly hash: string };
export const EMPTY_CHAIN: ChainHead = { seq: 0, hash: FIRST_PREVIOUS_HASH };

/** `events` are all after `from`, in order; the head that they lead to comes back with what is wrong. */
export function checkChain(
  events: Iterable<RecordedEvent>,
  from: ChainHead,
): { readonly lies: readonly Lie[]; readonly head: ChainHead } {
  const lies: Lie[] = [];
  let head = from;
  for (const { hash, ...entry } of events) {
    if (entry.seq !== head.seq + 1)
      lies.push(lie('gap', `entry ${entry.seq}`, `follows ${head.seq}`));
    else if (eventHash(head.hash, entry) !== hash)
      lies.push(lie('broken_chain', `entry ${entry.seq}`, 'is not what was hashed'));
    head = { seq: entry.seq, hash };
  }
  return { lies, head };
}

/** The same facts must be in the entries and in the operations: they were one transaction. */
export function checkEntries(
  events: Iterable<RecordedEvent>,
  operations: readonly RecordedOperation[],
): Lie[] {
  const lies: Lie[] = [];
  const keys = new Map<string, string>();
  const begun = new Set<string>();
  for (const { kind, operationId, body } of events) {
    if (kind === 'admitted') {
      const idempotencyKey = String(body['idempotencyKey']);
      const other = keys.get(idempotencyKey);
      if (other !== undefined)
        lies.push(lie('doubled', idempotencyKey, `admitted as ${other} and as ${operationId}`));
      keys.set(idempotencyKey, operationId ?? '');
    }
    const name = (body['effect'] as { name?: string } | undefined)?.name;
    if (kind !== 'effect_begun' || name !== ONCE_EFFECT) continue;
    const about = `${operationId} ${name}`;
    if (begun.has(about)) lies.push(lie('doubled', about, 'begun twice'));
    begun.add(about);
  }
  const known = new Set(operations.map(({ operationId }) => operationId));
  for (const { operationId, idempotencyKey } of operations) {
    if (keys.get(idempotencyKey) !== operationId)
      lies.push(lie('lost', idempotencyKey, `no entry admits ${operationId}`));
  }
  for (const [key, operationId] of keys) {
    if (!known.has(operationId))
      lies.push(lie('lost', key, `${operationId} is only in the entries`));
  }
  return lies;
}
