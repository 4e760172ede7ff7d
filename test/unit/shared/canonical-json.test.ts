import { fc } from '../../fakes/properties.ts';
import { expect, test } from 'vitest';
import { canonicalJson } from '../../../shared/core/canonical-json.ts';

/** The rule itself, with nothing done to be fast: digests of stored entries rest on every byte. */
function reference(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(reference).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.keys(value)
    .toSorted()
    .map((key) => [key, (value as Record<string, unknown>)[key]] as const)
    .filter(([, member]) => member !== undefined);
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${reference(member)}`).join(',')}}`;
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.string({ unit: 'binary-ascii', minLength: 55, maxLength: 75 }),
  fc.constantFrom(
    '',
    '__proto__',
    'constructor',
    'toJSON',
    '10',
    '9',
    '\ud800',
    '\udfff\ud800',
    '"\\/',
  ),
);
const number = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(-0, 0, 1e21, 1e-7, 123456789012345680000, 5e-324, 1.7976931348623157e308, -1e-6),
);
const { value: json } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    text,
    number,
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(text, fc.oneof(tie('value'), fc.constant(undefined)), { maxKeys: 12 }),
  ),
}));

test('any value has the bytes that the rule gives it', () => {
  fc.assert(
    fc.property(json, (value) => {
      expect(canonicalJson(value)).toBe(reference(value));
    }),
    { seed: 8785, numRuns: 3_000 },
  );
});

test('keys are ordered by UTF-16 code units, however many there are', () => {
  const keys = fc.uniqueArray(text, { minLength: 30, maxLength: 70 });
  fc.assert(
    fc.property(keys, (names) => {
      const value = Object.fromEntries(names.map((name, index) => [name, index]));
      expect(canonicalJson(value)).toBe(reference(value));
    }),
    { seed: 8785, numRuns: 300 },
  );
});

test('the example of RFC 8785, section 3.2.3', () => {
  const value = {
    '\u20ac': 'Euro Sign',
    '\r': 'Carriage Return',
    '\ufb33': 'Hebrew Letter Dalet With Dagesh',
    1: 'One',
    '\ud83d\ude00': 'Emoji: Grinning Face',
    '\u0080': 'Control',
    '\u00f6': 'Latin Small Letter O With Diaeresis',
  };
  expect(canonicalJson(value)).toBe(
    '{"\\r":"Carriage Return","1":"One","\u0080":"Control",' +
      '"\u00f6":"Latin Small Letter O With Diaeresis","\u20ac":"Euro Sign",' +
      '"\ud83d\ude00":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
  );
});

test.each([
  [Number.NaN],
  [Number.POSITIVE_INFINITY],
  [undefined],
  [() => 1],
  [1n],
  [Symbol('s')],
  [[undefined]],
])('%s has no JSON form', (value) => {
  expect(() => canonicalJson(value)).toThrow(TypeError);
});
