import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadAppTokens } from '../../../dataplane/http/app-tokens.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'app-tokens-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const ONE = 'token-of-one-0123456789';
const TWO = 'token-of-two-0123456789';

function load(tokens: Readonly<Record<string, string>>): ReturnType<typeof loadAppTokens> {
  const path = join(directory, 'apps.json');
  const apps = Object.entries(tokens).map(([name, token]) => ({ name, token, principals: ['*'] }));
  writeFileSync(path, JSON.stringify({ apps }), { mode: 0o600 });
  return loadAppTokens(path);
}

test('a token names its app, the first time and again; any other names none', () => {
  const tokens = load({ one: ONE, two: TWO });
  for (let round = 0; round < 3; round += 1) {
    expect(tokens(ONE)?.name).toBe('one');
    expect(tokens(TWO)?.name).toBe('two');
    for (const other of ['', `${ONE}x`, ONE.slice(0, -1), ONE.toUpperCase(), `${ONE} `])
      expect(tokens(other)).toBeNull();
  }
});

test('two apps with one token are refused at the start', () => {
  expect(() => load({ one: ONE, two: ONE })).toThrow('have the same token');
});
