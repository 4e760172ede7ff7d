import type { CompiledPolicy, LimitTerms } from '../../shared/core/policy.ts';
import type { WallMs } from '../../shared/core/time.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';

/** A revision in force on this host. */
export type ActivePolicy = {
  readonly policyRevision: number;
  readonly policyDigest: string;
  readonly activatedAtMs: WallMs;
  readonly document: PolicyDocument;
  readonly compiled: CompiledPolicy;
};

/** The rules that have limits, in document order. */
export function limitedRules(
  active: ActivePolicy | null,
): { readonly name: string; readonly limits: LimitTerms }[] {
  return (active?.compiled.rules ?? []).flatMap(({ name, terms: { limits } }) =>
    limits === null ? [] : [{ name, limits }],
  );
}
