/**
 * Small shared state on the host, guarded twice: by the version that the writer has read, and by
 * the fencing token of the resource that the register belongs to (I6).
 *
 * R1  In order: a resource that nobody here knows, a stale token, a register of another resource,
 *     another version than was read, no room. What only the newest owner may know is not told to a
 *     stale one.
 * R2  A register belongs to the resource under which it was made until it is deleted.
 */
import { checkFence } from '../../shared/core/lease.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';

export type StoredRegister = {
  readonly key: string;
  readonly resource: string;
  /** The token under which it was written. */
  readonly epoch: number;
  /** The entry of the journal that wrote it: never used again, not even for another register. */
  readonly version: number;
  /** JSON. */
  readonly value: string;
  readonly updatedAtMs: number;
};

export type RegisterWrite = {
  readonly app: string;
  readonly key: string;
  /** JSON; `null` deletes. */
  readonly valueText: string | null;
  /** The version that it replaces; `null`: there must be none. */
  readonly replaces: number | null;
  readonly resource: string;
  readonly epoch: number;
  /** This host holds a lease of the resource, or held one. */
  readonly isKnownHere: boolean;
  readonly registersMax: number;
};

export type RegisterVerdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

export function decideRegisterWrite(
  write: RegisterWrite,
  found: {
    readonly register: StoredRegister | null;
    readonly count: number;
    readonly highestEpoch: number | null;
  },
): RegisterVerdict {
  const { key, resource, epoch, replaces, valueText, registersMax } = write;
  const { register, count, highestEpoch } = found;
  const refused = (code: ErrorCode, detail: string) => ({ ok: false, code, detail }) as const;
  if (highestEpoch === null && !write.isKnownHere)
    return refused(
      'resource_unknown',
      `this host has neither a lease nor a fence of ${resource}: acquire its lease first`,
    );
  const fence = checkFence(highestEpoch, epoch);
  if (!fence.accepted)
    return refused(
      'stale_owner',
      `epoch ${epoch} for ${resource} is below ${fence.highestEpoch}, the highest seen: another owner has been here`,
    );
  if (register === null) {
    if (valueText === null || replaces !== null)
      return refused('register_not_found', `there is no register ${key}`);
    if (count < registersMax) return { ok: true };
    return refused(
      'registers_full',
      `there are ${count} registers and may be ${registersMax}: delete some, or raise registersMax`,
    );
  }
  if (register.resource !== resource)
    return refused(
      'register_resource_fixed',
      `register ${key} is guarded by ${register.resource} and not by ${resource}: present its token`,
    );
  if (replaces === register.version) return { ok: true };
  const read = replaces === null ? 'none was expected' : `"${replaces}" was expected`;
  return refused('register_changed', `register ${key} is at "${register.version}", ${read}`);
}
