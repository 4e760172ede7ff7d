/** What changes from one policy document to another: as text, and as what it means. */
import { createTwoFilesPatch } from 'diff';
import { digestOf } from '../../../shared/platform/digest.ts';
import { canonicalYaml } from './policy-format.ts';

type Side = { readonly name: string; readonly value: unknown };

export type PolicyDifference = {
  /** By meaning: comments, order of fields and layout are no difference. */
  readonly differs: boolean;
  /** A unified diff of both in their canonical form; empty where they mean the same. */
  readonly text: string;
};

export function comparePolicies(from: Side, to: Side, contextLines: number): PolicyDifference {
  if (digestOf(from.value) === digestOf(to.value)) return { differs: false, text: '' };
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
  return { differs: true, text: patch.slice(patch.indexOf('\n') + 1) };
}
