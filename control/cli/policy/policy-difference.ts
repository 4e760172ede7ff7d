/** What changes from one policy document to another: as text, and as what it means. */
import { createTwoFilesPatch } from 'diff';
import {
  comparePolicies,
  mayLoosen,
  type PolicyChange,
} from '../../../shared/core/policy-comparison.ts';
import { digestOf } from '../../../shared/platform/digest.ts';
import { checkBeforeTests } from '../../../shared/platform/policy-gate.ts';
import { canonicalYaml } from './policy-format.ts';

export type ComparedSide = { readonly name: string; readonly value: unknown };

export type PolicyDifference = {
  /** By meaning: comments, order of fields and layout are no difference. */
  readonly differs: boolean;
  /** A unified diff of both in their canonical form; empty where they mean the same. */
  readonly text: string;
  /** What got looser, tighter or merely different; `null` where one of the two does not validate. */
  readonly changes: readonly PolicyChange[] | null;
  readonly mayLoosen: boolean | null;
  /** The first of the two that does not validate. */
  readonly invalid: string | null;
};

export function differenceOf(
  from: ComparedSide,
  to: ComparedSide,
  contextLines: number,
): PolicyDifference {
  if (digestOf(from.value) === digestOf(to.value)) {
    return { differs: false, text: '', changes: [], mayLoosen: false, invalid: null };
  }
  const patch = createTwoFilesPatch(
    from.name,
    to.name,
    canonicalYaml(from.value),
    canonicalYaml(to.value),
    undefined,
    undefined,
    { context: contextLines },
  );
  // The first line underlines a heading that we do not have.
  const text = patch.slice(patch.indexOf('\n') + 1);
  const [before, after] = [checkBeforeTests(from.value), checkBeforeTests(to.value)];
  if (!before.ok || !after.ok) {
    const invalid = before.ok ? to.name : from.name;
    return { differs: true, text, changes: null, mayLoosen: null, invalid };
  }
  const changes = comparePolicies(before.document, after.document);
  return { differs: true, text, changes, mayLoosen: mayLoosen(changes), invalid: null };
}
