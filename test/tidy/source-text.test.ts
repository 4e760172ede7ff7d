import { describe, expect, test } from 'vitest';
import { lineAt, splitText } from './source-text.ts';

const codeOf = (text: string): string => splitText(text).code.replaceAll(/ +/g, ' ').trim();

describe('splitting a source text', () => {
  test.for([
    ['a line comment', 'let a; // Date\nlet b;', 'let a; \nlet b;'],
    ['a block comment', 'a /* Date\n */ b', 'a \n b'],
    ['a string', "f('Date // no', \"it's\")", 'f(\' \', " ")'],
    ['an escaped quote', String.raw`f('a\'Date') + Date`, "f(' ') + Date"],
    ['a template', '`Date ${now} Date`', '` ${now} `'],
    [
      'a template in a template',
      '`a ${f(`b ${c} d`, { e: 1 })} g` + h',
      '` ${f(` ${c} `, { e: 1 })} ` + h',
    ],
    ['a regular expression', "/['Date/]/.test(a) / b", '/ /.test(a) / b'],
    ['a regular expression after return', "return /'/g;", 'return / /g;'],
    ['a division', "a / b / c; 'Date'", "a / b / c; ' '"],
    ['a shebang', '#!/usr/bin/env node\na', 'a'],
  ] as const)('leaves out what is not code in %s', ([, text, expected]) => {
    expect(codeOf(text)).toBe(expected);
  });

  test('keeps every offset and line break, beyond the basic plane too', () => {
    const text = "a('𝒳\\n') // 𝒳\nb";
    const { code, comments } = splitText(text);
    expect(code).toHaveLength(text.length);
    expect(comments).toHaveLength(text.length);
    expect(code.indexOf('b')).toBe(text.indexOf('b'));
    expect(comments.trim()).toBe('// 𝒳');
  });

  test('ends with the text when a string, a template or a comment is left open', () => {
    for (const text of ["'a", '`a', '`a${', '/* a', '/a', "'\\"]) {
      expect(splitText(text).code).toHaveLength(text.length);
    }
  });
});

test('counts lines from one', () => {
  expect([0, 1, 2, 3].map((offset) => lineAt('a\nb\n', offset))).toEqual([1, 1, 2, 2]);
});
