/** Choices from a seed, and the values that break programs which did not expect them. */
import { FakeRandom } from '../fakes/fake-random.ts';

const GOLDEN = 0x9e3779b9;

export class Draw {
  readonly #random: FakeRandom;

  private constructor(random: FakeRandom) {
    this.#random = random;
  }

  /** Of one case: what was drawn for those before it changes nothing. */
  static ofCase(seed: number, number: number): Draw {
    const mixed = (Math.imul(number, GOLDEN) ^ Math.imul(seed + 1, 0x85ebca6b)) >>> 0;
    return new Draw(new FakeRandom(mixed).fork());
  }

  chance(share: number): boolean {
    return this.#random.unit() < share;
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    return this.#random.below(bound);
  }

  between(least: number, most: number): number {
    return least + this.#random.below(most - least + 1);
  }

  one<T>(list: readonly T[]): T {
    const value = list[this.#random.below(list.length)];
    if (value === undefined && list.length === 0) throw new Error('there is nothing to draw from');
    return value as T;
  }

  /** By weight: `[3, a], [1, b]` is `a` three times of four. */
  weighted<T>(choices: readonly (readonly [weight: number, value: T])[]): T {
    const total = choices.reduce((sum, [weight]) => sum + weight, 0);
    let left = this.#random.unit() * total;
    for (const [weight, value] of choices) {
      left -= weight;
      if (left < 0) return value;
    }
    return this.one(choices)[1];
  }

  text(letters: string, length: number): string {
    return Array.from({ length }, () => letters[this.below(letters.length)] ?? 'x').join('');
  }

  bytes(size: number): Buffer {
    return Buffer.from(this.#random.bytes(size));
  }
}

export const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** Written as JSON: what a number may look like, and what only looks like one. */
export const NUMBER_TEXTS: readonly string[] = [
  '0',
  '-0',
  '-1',
  '1.5',
  '1e3',
  '1E+2',
  '9007199254740991',
  '9007199254740992',
  '-9007199254740993',
  '1e308',
  '1e400',
  '-1e400',
  '5e-324',
  '1e-400',
  '18446744073709551616',
  '0.1e1',
  'NaN',
  'Infinity',
  '-Infinity',
  '0x10',
  '01',
  '+1',
  '.5',
  '1.',
];

/** As values of a parsed document. */
export const ODD_NUMBERS: readonly number[] = [
  0,
  -0,
  -1,
  0.5,
  1.5,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  -(2 ** 53),
  1e308,
  5e-324,
  253_402_300_800_000,
];

export const ODD_TEXTS: readonly string[] = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\n',
  '\r\n',
  '\u2028',
  '\u200b',
  '\ufeff',
  '\u202eabc',
  '\ud800',
  'a\udfff',
  '𝕳𝖔𝖑𝖉',
  'é',
  'e\u0301',
  'İ',
  'ß',
  '👩‍👩‍👧‍👦',
  '../../etc/passwd',
  '%00',
  '%2e%2e%2f',
  "' OR 1=1 --",
  '{{7*7}}',
  '${jndi:x}',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'null',
  'undefined',
  'true',
  'NaN',
  '1e400',
  '*',
  '-',
  '.',
  '..',
  '/',
  ':',
  '"',
  '\\',
  'W/"1"',
  '2026-02-30T25:61:61Z',
  '99999999999999999999d',
  '0s',
];

export const ODD_KEYS: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '',
  ' ',
  '\0',
  'a'.repeat(500),
  '~1/~0',
  '$ref',
  '$id',
  'then',
  'toJSON',
  'length',
];
