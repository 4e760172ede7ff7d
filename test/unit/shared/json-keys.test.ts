import { fc } from '../../fakes/properties.ts';
import { expect, test } from 'vitest';
import { repeatedKeys } from '../../../shared/core/json-keys.ts';

test.each([
  ['{"a":1,"a":2}', [['a', 7]]],
  ['{"a":1,\n "\\u0061" : 2}', [['a', 9]]],
  [
    '{"a":{"b":1,"b":2},"a":[{"c":1},{"c":1}]}',
    [
      ['b', 12],
      ['a', 19],
    ],
  ],
  ['["a","a",{"a":"a"},"a"]', []],
  ['{"a":"\\"a\\":{","b":"a"}', []],
  ['{"\\\\":1,"\\\\":2}', [['\\', 8]]],
  ['{"__proto__":1,"__proto__":2}', [['__proto__', 15]]],
  ['"a"', []],
])('%s', (text, expected) => {
  expect(repeatedKeys(text).map(({ key, offset }) => [key, offset])).toEqual(expected);
});

test('of any value there is none, however it is written', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(undefined, 2, '\t'), (value, indent) => {
      expect(repeatedKeys(JSON.stringify(value, null, indent))).toEqual([]);
    }),
  );
});

test('one that is written twice, anywhere in a document, is found where it stands', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string(), fc.jsonValue(), (before, key, after) => {
      const name = JSON.stringify(key);
      const head = `[${JSON.stringify(before)},{${name}:${JSON.stringify(after)},`;
      expect(repeatedKeys(`${head}${name}:1}]`)).toEqual([{ key, offset: head.length }]);
    }),
  );
});
