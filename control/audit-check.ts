/**
 * Verifies the end of the audit trail: an entry that was changed, or taken away from between,
 * breaks the chain.
 */
import { chainHash } from '../shared/platform/digest.ts';
import type { AuditEntry } from '../shared/wire/control-api.ts';
import { FIRST_PREVIOUS_HASH } from '../shared/wire/operation.ts';

/** `null` when the entries, oldest first, chain; else what does not. */
export function checkAuditChain(entries: readonly AuditEntry[]): string | null {
  let previous: AuditEntry | undefined;
  for (const entry of entries) {
    const { seq, atMs, actor, action, target, detail, previousHash, hash } = entry;
    if (chainHash(previousHash, { seq, atMs, actor, action, target, detail }) !== hash) {
      return `audit entry ${seq} was changed after it was written`;
    }
    if (seq === 1 && previousHash !== FIRST_PREVIOUS_HASH) {
      return 'audit entry 1 does not begin the trail';
    }
    if (previous !== undefined && (seq !== previous.seq + 1 || previousHash !== previous.hash)) {
      return `audit entry ${seq} does not follow entry ${previous.seq}`;
    }
    previous = entry;
  }
  return null;
}
