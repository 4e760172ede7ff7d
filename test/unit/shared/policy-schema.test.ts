/** What does not fit the schema of a policy is always said, with its place and a way out. */
import { expect, test } from 'vitest';
import { checkPolicyValue } from '../../../shared/platform/policy-gate.ts';
import { policyDocument } from '../../fakes/control-world.ts';

const many = (count: number): Record<string, unknown> =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`more${at}`, at]));

test.each([
  ['the document', (fields: object) => ({ ...policyDocument(), ...fields })],
  ['the principals', (fields: object) => policyDocument({ principals: fields as never })],
] as const)('more unknown fields of %s than are listed are told', (_, documentWith) => {
  for (const count of [1, 99, 250, 601]) {
    const checked = checkPolicyValue(documentWith(many(count)));
    const problems = checked.ok ? [] : checked.problems;
    expect(problems).toHaveLength(Math.min(count, 100));
    for (const { path, message } of problems) {
      expect(path).toMatch(/\/more\d+$/);
      expect(message).toMatch(/unknown field: |cannot be a name here: /);
    }
  }
});
