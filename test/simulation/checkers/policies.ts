/**
 * The model of what policy says: each published document compiled, and decided by the same pure
 * functions, apart from the daemons that are judged.
 */
import {
  compilePolicy,
  decide,
  type CompiledPolicy,
  type Decision,
  type RuleTerms,
} from '../../../shared/core/policy.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import type { DecisionInput } from '../../../shared/wire/policy-document.ts';
import type { EventOf } from '../history.ts';

export type Published = EventOf<'revision_published'>;

export class Policies {
  readonly published: readonly Published[];
  /** By digest. */
  readonly #compiled = new Map<string, CompiledPolicy | null>();

  constructor(published: readonly Published[]) {
    this.published = published;
  }

  /** More than one only where a number was given twice, which I11 is about. */
  of(policyRevision: number): readonly Published[] {
    return this.published.filter((one) => one.policyRevision === policyRevision);
  }

  compiled({ policyDigest, document }: Published): CompiledPolicy | null {
    const known = this.#compiled.get(policyDigest);
    if (known !== undefined) return known;
    const result = compilePolicy(document, compileCel);
    const policy = result.ok ? result.policy : null;
    this.#compiled.set(policyDigest, policy);
    return policy;
  }

  /** What each document of that number decides. */
  decide(policyRevision: number, input: DecisionInput): Decision[] {
    return this.of(policyRevision).flatMap((published) => {
      const policy = this.compiled(published);
      return policy === null ? [] : [decide(policy, input)];
    });
  }

  /** Of the rule of that name, in that revision. */
  termsOf(policyRevision: number, rule: string): RuleTerms | null {
    for (const published of this.of(policyRevision)) {
      const found = this.compiled(published)?.rules.find(({ name }) => name === rule);
      if (found !== undefined) return found.terms;
    }
    return null;
  }
}
