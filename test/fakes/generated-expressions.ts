/**
 * Expressions that a policy could hold and a good many that none would, and requests that an
 * attacker could send.
 */
import fc from 'fast-check';
import type { ExpressionContext } from '../../shared/core/policy.ts';

const KEYS = ['a', 'b', 'amount', 'constructor', '__proto__', 'toString', '5'];
const STRINGS = ['', 'a', 'agent', 'agents', '5', 'true', 'constructor', 'é', '\ud83d\ude00'];
const NUMBERS = [0, -0, 1, 5, -5, 5.5, 500, 0.1, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 1e21, 1e308];
const INTS = ['0', '5', '-5', '500', '9007199254740991', '9007199254740993', '0x10'];
const DOUBLES = ['5.0', '5.5', '0.0', '-0.0', '1e3', '9007199254740992.0'];
const LISTS = ['["a", "agent"]', '[0, 5]', '[5.0, 5.5]', '[true]', '[null]', '[]', '[[1]]'];

/** Parsed from text, as requests are: so that `__proto__` is a key and not a prototype. */
const { attributes } = fc.letrec<{ attributes: string; value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(...STRINGS, ...NUMBERS, true, false, null).map((value) => numeral(value)),
    fc
      .array(fc.constantFrom(...STRINGS, ...NUMBERS, null).map(numeral), { maxLength: 3 })
      .map(listed),
    fc.array(tie('value'), { maxLength: 3 }).map(listed),
    tie('attributes'),
  ),
  attributes: fc
    .uniqueArray(fc.tuple(key(), tie('value')), { maxLength: 5, selector: ([name]) => name })
    .map((members) => `{${members.map(([name, value]) => `"${name}":${value}`).join()}}`),
}));
export const generatedContext = fc
  .tuple(attributes, attributes, fc.constantFrom(...STRINGS), fc.constantFrom(...STRINGS))
  .map(([own, ofResource, id, role]): ExpressionContext => ({
    principal: { id, roles: [role, 'agent'] },
    action: 'payments.capture',
    resource: { id, attributes: JSON.parse(ofResource) as Record<string, unknown> },
    attributes: JSON.parse(own) as Record<string, unknown>,
  }));

export const { truth: generatedCondition } = fc.letrec<
  Record<'truth' | 'value' | 'path' | 'text', string>
>((tie) => ({
  text: fc.oneof(
    { maxDepth: 2, depthIdentifier: 'text' },
    fc.constantFrom('principal.id', 'resource.id', 'attributes.a', 'attributes.b'),
    fc.constantFrom(...STRINGS).map((text) => JSON.stringify(text)),
    tie('value'),
  ),
  path: fc.oneof(
    { maxDepth: 2, depthIdentifier: 'path' },
    fc.constantFrom('attributes', 'attributes', 'resource.attributes', 'resource', 'principal'),
    fc.tuple(tie('path'), key()).map(([owner, name]) => `${owner}.${name}`),
    fc.tuple(tie('path'), key()).map(([owner, name]) => `${owner}["${name}"]`),
    tie('path').map((owner) => `${owner}[0]`),
  ),
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'value' },
    { weight: 3, arbitrary: tie('path') },
    fc.constantFrom('principal.id', 'principal.roles', 'resource.id', 'action', 'null', 'true'),
    fc.constantFrom(...STRINGS).map((text) => JSON.stringify(text)),
    fc.constantFrom(...INTS, ...DOUBLES),
    fc.constantFrom(...LISTS),
    fc.tuple(tie('path'), tie('path')).map(([one, other]) => `[${one}, ${other}]`),
    tie('value').map((value) => `size(${value})`),
    tie('value').map((value) => `${value}.size()`),
    tie('value').map((value) => `-${value}`),
    tie('truth'),
    fc
      .tuple(tie('truth'), tie('value'), tie('value'))
      .map(([condition, yes, no]) => `(${condition} ? ${yes} : ${no})`),
  ),
  truth: fc.oneof(
    { maxDepth: 5, depthIdentifier: 'truth' },
    {
      weight: 4,
      arbitrary: fc
        .tuple(
          tie('value'),
          fc.constantFrom('==', '!=', '<', '<=', '>', '>=', 'in', 'in'),
          tie('value'),
        )
        .map((parts) => `(${parts.join(' ')})`),
    },
    fc.tuple(tie('path'), key()).map(([owner, name]) => `has(${owner}.${name})`),
    fc
      .tuple(tie('text'), fc.constantFrom('startsWith', 'endsWith', 'contains'), tie('text'))
      .map(([text, name, sought]) => `${text}.${name}(${sought})`),
    fc.tuple(tie('path'), tie('truth')).map(([list, body]) => `${list}.exists(a, ${body})`),
    tie('truth').map((inner) => `!${inner}`),
    fc
      .tuple(tie('truth'), fc.constantFrom('&&', '||'), tie('truth'))
      .map((parts) => `(${parts.join(' ')})`),
    fc.constantFrom('true', 'false', 'attributes.a', 'resource.attributes.b'),
  ),
}));

function key(): fc.Arbitrary<string> {
  return fc.constantFrom('a', 'a', 'b', 'b', ...KEYS);
}
function numeral(value: unknown): string {
  return Object.is(value, -0) ? '-0' : JSON.stringify(value);
}
function listed(elements: readonly string[]): string {
  return `[${elements.join()}]`;
}

const calculation = fc.letrec<{ number: string }>((tie) => ({
  number: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(...INTS, ...DOUBLES, '0', '1', '2', '1.5'),
    fc.constantFrom('attributes.a', 'attributes.b', 'attributes.amount', 'size(principal.roles)'),
    fc
      .tuple(tie('number'), fc.constantFrom('+', '-', '*', '/', '%'), tie('number'))
      .map((parts) => `(${parts.join(' ')})`),
    fc
      .tuple(fc.constantFrom('int', 'double'), tie('number'))
      .map(([name, inner]) => `${name}(${inner})`),
    tie('number').map((inner) => `-${inner}`),
  ),
})).number;

const list = fc.constantFrom(
  'attributes.a',
  'resource.attributes.b',
  'principal.roles',
  '[1, 5, 500]',
  '["a", "agent"]',
  '[5.0, 0.1]',
);
const ofElement = fc.constantFrom(
  'e == 5',
  'e != "agent"',
  'e > 1',
  'e in attributes.b',
  'e.a == 1',
  'e',
  'e == attributes.amount',
  'size(e) > 0',
);
const string = fc.constantFrom('principal.id', 'attributes.a', '"Agent 5"', 'string(attributes.b)');

/** Arithmetic, conversions, loops and texts: what shortcuts leave to the library. */
export const generatedCalculation = fc.oneof(
  fc
    .tuple(calculation, fc.constantFrom('==', '!=', '<', '>='), calculation)
    .map((parts) => parts.join(' ')),
  fc
    .tuple(list, fc.constantFrom('all', 'exists', 'exists_one'), ofElement)
    .map(([over, name, body]) => `${over}.${name}(e, ${body})`),
  fc.tuple(list, ofElement).map(([over, body]) => `size(${over}.filter(e, ${body})) == 1`),
  fc
    .tuple(string, fc.constantFrom('indexOf', 'lastIndexOf'), fc.constantFrom(...STRINGS))
    .map(([text, name, sought]) => `${text}.${name}(${JSON.stringify(sought)}) >= 0`),
  fc
    .tuple(string, fc.integer({ min: -1, max: 3 }), fc.integer({ min: 0, max: 4 }))
    .map(([text, from, to]) => `${text}.substring(${from}, ${to}) == "ag"`),
  fc
    .tuple(string, fc.constantFrom('lowerAscii', 'upperAscii', 'trim'))
    .map(([text, name]) => `${text}.${name}() + "" == "agent"`),
  fc
    .tuple(calculation, fc.constantFrom('int', 'double', 'string', 'bool'))
    .map(([value, name]) => `type(${value}) == ${name}`),
);
