import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KeptError, KeptSeeds } from '../../simulation/kept-seeds.ts';

const HEAD = { commit: 'abc1234', minutes: 4, pace: 'mixed' } as const;
const broken = (seed: number) => ({ kind: 'broken', seed, detail: 'it broke' }) as const;

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-kept-'));
  path = join(directory, 'campaign.ndjson');
});
afterEach(() => rmSync(directory, { recursive: true }));

test('a campaign goes on where it was stopped', () => {
  const first = new KeptSeeds(path, HEAD);
  first.add(broken(7));
  first.add(broken(8));
  const second = new KeptSeeds(path, HEAD);
  expect(second.of(7)).toEqual(broken(7));
  expect(second.of(8)).toEqual(broken(8));
  expect(second.of(9)).toBeNull();
});

test('KS2: a line that was cut off is run again, and spoils none after it', () => {
  new KeptSeeds(path, HEAD).add(broken(7));
  appendFileSync(path, JSON.stringify(broken(8)).slice(0, 20));
  const second = new KeptSeeds(path, HEAD);
  expect(second.of(8)).toBeNull();
  second.add(broken(9));
  const third = new KeptSeeds(path, HEAD);
  expect([third.of(7), third.of(8), third.of(9)]).toEqual([broken(7), null, broken(9)]);
});

test('KS1: seeds of another commit or another length are not added up', () => {
  new KeptSeeds(path, HEAD).add(broken(7));
  const before = readFileSync(path, 'utf8');
  for (const other of [
    { ...HEAD, commit: 'def5678' },
    { ...HEAD, minutes: 2 },
  ])
    expect(() => new KeptSeeds(path, other)).toThrow(/is of .*abc1234.*and this is/);
  expect(readFileSync(path, 'utf8')).toBe(before);
});

test('a file of something else is left as it is', () => {
  writeFileSync(path, 'notes of mine\n');
  expect(() => new KeptSeeds(path, HEAD)).toThrow(KeptError);
  expect(readFileSync(path, 'utf8')).toBe('notes of mine\n');
});
