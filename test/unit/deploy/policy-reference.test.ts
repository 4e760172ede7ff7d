/** The reference document is right, has every field of the schema, and the built-in defaults. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { POLICY_DEFAULTS, ruleTerms } from '../../../shared/core/policy.ts';
import { checkPolicy } from '../../../shared/platform/policy-gate.ts';
import { PolicyDocumentSchema } from '../../../shared/wire/policy-document.ts';

const TEXT = readFileSync(
  join(import.meta.dirname, '../../../deploy/examples/policy-reference.yaml'),
  'utf8',
);

function reference() {
  const check = checkPolicy(TEXT, 'yaml');
  if (!check.ok) throw new Error(JSON.stringify(check.problems));
  return check;
}

type Schema = Readonly<Record<string, unknown>>;

/** Each field of the schema with its place, `*` for every element, key or name. */
function fieldsOf(schema: Schema, at: string): string[] {
  const members = Object.entries((schema['properties'] ?? {}) as Record<string, Schema>);
  const inner = [
    ...(schema['items'] === undefined ? [] : [schema['items'] as Schema]),
    ...Object.values((schema['patternProperties'] ?? {}) as Record<string, Schema>),
  ];
  return [
    ...members.flatMap(([name, field]) => [`${at}/${name}`, ...fieldsOf(field, `${at}/${name}`)]),
    ...inner.flatMap((field) => fieldsOf(field, `${at}/*`)),
  ];
}

function fieldsIn(value: unknown, at: string): string[] {
  if (Array.isArray(value)) return value.flatMap((element) => fieldsIn(element, `${at}/*`));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) =>
    [`${at}/${key}`, `${at}/*`].flatMap((place) => [place, ...fieldsIn(member, place)]),
  );
}

test('it has every field of the schema', () => {
  const used = new Set(fieldsIn(reference().document, ''));
  const fields = fieldsOf(PolicyDocumentSchema as unknown as Schema, '');
  expect(fields.length).toBeGreaterThan(60);
  expect(fields.filter((field) => !used.has(field))).toEqual([]);
});

test('it passes every gate without a warning', () => {
  expect(reference().warnings).toEqual([]);
});

test('its defaults are the built-in ones', () => {
  const { defaults } = reference().document;
  const rule = { name: 'any', actions: ['*'], permit: [{ expression: 'true' }] };
  expect(Object.keys(defaults ?? {})).toHaveLength(8);
  expect(ruleTerms(rule, defaults)).toEqual(ruleTerms(rule, undefined));
  expect(ruleTerms(rule, undefined)).toMatchObject({
    maxStalenessMs: POLICY_DEFAULTS.maxStalenessMs,
  });
});

test('every word that a field allows is explained', () => {
  const words = JSON.stringify(PolicyDocumentSchema).matchAll(/"enum":\[([^\]]*)\]/g);
  const all = [...words].flatMap(([, list]) => JSON.parse(`[${list}]`) as string[]);
  expect(all.filter((word) => !TEXT.includes(word))).toEqual([]);
});
