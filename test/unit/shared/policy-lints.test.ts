import { fc } from '../../fakes/properties.ts';
import { expect, test } from 'vitest';
import { lintPolicy } from '../../../shared/core/policy-lints.ts';
import { checkPolicy } from '../../../shared/platform/policy-gate.ts';
import type { PolicyDocument, PolicyRule } from '../../../shared/wire/policy-document.ts';

const documentOf = (rules: readonly PolicyRule[]): PolicyDocument => ({
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:billing': { roles: ['billing'] } },
  rules: [...rules],
});

/** Each rule against all before it, as it reads. */
function shadowedSlowly(rules: readonly PolicyRule[]): string[] {
  const covers = (taken: string, pattern: string): boolean =>
    taken === '*' ||
    taken === pattern ||
    (taken.endsWith('.*') && pattern.startsWith(taken.slice(0, -1)));
  return rules.flatMap((rule, position) => {
    const own = (rule.match ?? []).map(({ expression }) => expression);
    const earlier = rules.slice(0, position).filter(({ match = [] }) => {
      const taken = match.map(({ expression }) => expression);
      const isFound = taken.length < 2 || taken.length === own.length;
      return isFound && taken.every((expression) => own.includes(expression));
    });
    const shadows = rule.actions.map((pattern) =>
      earlier.find(({ actions }) => actions.some((taken) => covers(taken, pattern))),
    );
    return shadows.every((found) => found !== undefined)
      ? [`/rules/${position} by ${shadows[0]?.name}`]
      : [];
  });
}

test('property: the rules that nothing reaches are those a slow search finds', () => {
  const words = fc.constantFrom('a', 'b', 'ab');
  const action = fc.array(words, { minLength: 1, maxLength: 3 }).map((path) => path.join('.'));
  const pattern = fc.oneof(
    action,
    action.map((prefix) => `${prefix}.*`),
    fc.constant('*'),
  );
  const rules = fc
    .array(
      fc.record({
        actions: fc.uniqueArray(pattern, { minLength: 1, maxLength: 3 }),
        match: fc.uniqueArray(fc.constantFrom('action == "a"', 'true', 'resource.id == ""'), {
          maxLength: 3,
        }),
      }),
      { minLength: 1, maxLength: 8 },
    )
    .map((drawn) =>
      drawn.map(({ actions, match }, position): PolicyRule => ({
        name: `rule-${position}`,
        actions,
        match: match.map((expression) => ({ expression })),
        permit: [{ expression: 'true' }],
      })),
    );
  fc.assert(
    fc.property(rules, (drawn) => {
      const found = lintPolicy(documentOf(drawn)).map(({ path, message }) => {
        const by = /reached: rule (\S+) comes/.exec(message)?.[1];
        return `${path} by ${by}`;
      });
      expect(found).toEqual(shadowedSlowly(drawn));
    }),
    { numRuns: 500 },
  );
});

test.each([
  ['yaml', 'apiVersion: holdfast/v1\nkind: Policy\nkind: Policy\n', 'line 3, column 1'],
  ['json', '{"a": {"b": 1, "b": 2}}', 'line 1, column 16'],
] as const)('a key that is there twice is refused in %s, at its place', (format, text, place) => {
  const check = checkPolicy(text, format);
  expect(check).toMatchObject({ ok: false, code: `invalid_${format}` });
  expect(check.ok ? [] : check.problems).toEqual([
    { path: '', message: `${place}: Map keys must be unique: remove or rename one of them` },
  ]);
});
