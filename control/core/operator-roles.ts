/**
 * Roles of operators. Everyone may view; `admin` may everything; the three between differ in kind,
 * not in rank: who publishes policy is not thereby somebody who approves work.
 */
import type { OperatorRole } from '../../shared/wire/control-api.ts';

export function mayActAs(held: readonly OperatorRole[], needed: OperatorRole): boolean {
  if (held.includes('admin')) return true;
  if (needed === 'viewer') return held.length > 0;
  return held.includes(needed);
}
