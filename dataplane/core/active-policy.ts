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

/** By rule: of the revision in force, however often it is asked. */
export function longestDeadlineOf(active: () => ActivePolicy | null): (rule: string) => number {
  let known: ActivePolicy | null = null;
  let deadlines = new Map<string, number>();
  return (rule) => {
    const now = active();
    if (now !== known) {
      known = now;
      const rules = now?.compiled.rules ?? [];
      deadlines = new Map(rules.map(({ name, terms }) => [name, terms.maxDeadlineMs]));
    }
    return deadlines.get(rule) ?? 0;
  };
}
