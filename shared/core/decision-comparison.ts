/**
 * The same requests decided under two policies, and what differs. A fold over samples, so that
 * whoever feeds it can stop for others in between.
 *
 * E1  Both sides are decided here and now: what was once recorded for a request plays no part.
 */
import type { DecisionInput, PolicyDocument } from '../wire/policy-document.ts';
import { canonicalJson } from './canonical-json.ts';
import { decide, type CompiledPolicy, type Decision, type RuleTerms } from './policy.ts';

export const DIFFERENCE_KINDS = [
  'permit_to_deny',
  'deny_to_permit',
  'rule_changed',
  'reason_changed',
  'terms_changed',
] as const;
export type DifferenceKind = (typeof DIFFERENCE_KINDS)[number];

export type Sample = {
  /** Where it comes from, as `operation op_…` or `test "small capture passes"`. */
  readonly source: string;
  readonly input: DecisionInput;
};

export type Verdict = {
  readonly decision: 'permit' | 'deny';
  readonly reason: string;
  readonly rule: string | null;
  readonly message: string;
};

export type Difference = {
  readonly kind: DifferenceKind;
  readonly source: string;
  readonly principal: string;
  readonly action: string;
  readonly resourceId: string | null;
  readonly before: Verdict;
  readonly after: Verdict;
};

export type ComparedDecisions = {
  readonly compared: number;
  readonly same: number;
  readonly counts: Readonly<Record<DifferenceKind, number>>;
  /** The first of each kind, in the order they were met. */
  readonly examples: readonly Difference[];
};

export class DecisionComparison {
  readonly #before: CompiledPolicy;
  readonly #after: CompiledPolicy;
  readonly #examplesMax: number;
  readonly #counts: Record<DifferenceKind, number> = {
    permit_to_deny: 0,
    deny_to_permit: 0,
    rule_changed: 0,
    reason_changed: 0,
    terms_changed: 0,
  };
  readonly #examples: Difference[] = [];
  readonly #texts = new Map<RuleTerms, string>();
  #compared = 0;

  constructor(compared: {
    readonly before: CompiledPolicy;
    readonly after: CompiledPolicy;
    /** Of each kind. */
    readonly examplesMax: number;
  }) {
    this.#before = compared.before;
    this.#after = compared.after;
    this.#examplesMax = compared.examplesMax;
  }

  add({ source, input }: Sample): DifferenceKind | 'same' {
    this.#compared += 1;
    const [before, after] = [decide(this.#before, input), decide(this.#after, input)];
    const kind = this.#differenceOf(before, after);
    if (kind === 'same') return kind;
    this.#counts[kind] += 1;
    if (this.#counts[kind] <= this.#examplesMax) {
      this.#examples.push({
        kind,
        source,
        principal: input.principal,
        action: input.action,
        resourceId: input.resource?.id ?? null,
        before: verdictOf(before),
        after: verdictOf(after),
      });
    }
    return kind;
  }

  /** Of two differences the one that matters more to the caller. */
  #differenceOf(before: Decision, after: Decision): DifferenceKind | 'same' {
    if (before.decision !== after.decision) {
      return before.decision === 'permit' ? 'permit_to_deny' : 'deny_to_permit';
    }
    if (before.rule !== after.rule) return 'rule_changed';
    if (before.reason !== after.reason) return 'reason_changed';
    // What a refusal would have meant for accepted work is nothing.
    if (after.decision === 'deny') return 'same';
    const isSame =
      before.leaseResource === after.leaseResource &&
      this.#textOf(before.terms) === this.#textOf(after.terms);
    return isSame ? 'same' : 'terms_changed';
  }

  /** Terms are the same object for every decision of a rule. */
  #textOf(terms: RuleTerms | null): string {
    if (terms === null) return '';
    let text = this.#texts.get(terms);
    if (text === undefined) {
      text = canonicalJson(terms);
      this.#texts.set(terms, text);
    }
    return text;
  }

  result(): ComparedDecisions {
    const differing = Object.values(this.#counts).reduce((sum, count) => sum + count, 0);
    return {
      compared: this.#compared,
      same: this.#compared - differing,
      counts: { ...this.#counts },
      examples: [...this.#examples],
    };
  }
}

function verdictOf({ decision, reason, rule, message }: Decision): Verdict {
  return { decision, reason, rule, message };
}

/** What the documents' own tests ask, each once. */
export function testSamples(...documents: readonly PolicyDocument[]): Sample[] {
  const samples = new Map<string, Sample>();
  for (const { tests = [] } of documents) {
    for (const { name, given } of tests) {
      const key = canonicalJson(given);
      if (!samples.has(key)) samples.set(key, { source: `test "${name}"`, input: given });
    }
  }
  return [...samples.values()];
}
