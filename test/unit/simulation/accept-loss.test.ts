/** The person of the simulation says what the real command did, and nothing where it did nothing (I1). */
import { readdirSync, rmSync, writeFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { journalFiles, type JournalFiles } from '../../../dataplane/journal/journal-files.ts';
import { SystemClock } from '../../../shared/platform/clock.ts';
import { lockDirectory } from '../../../shared/platform/directory-lock.ts';
import { copyJournal, crashImage } from '../../fakes/journal-image.ts';
import { acceptLoss } from '../../simulation/engine/accept-loss.ts';

const clock = new SystemClock();
const root = mkdtempSync(join(tmpdir(), 'holdfast-accept-'));
let image: JournalFiles;
let dataDir: string;
let files: JournalFiles;

beforeAll(async () => {
  ({ image } = await crashImage(root));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  dataDir = mkdtempSync(join(root, 'data-'));
  files = journalFiles(join(dataDir, 'journal'));
  copyJournal(image, files);
});

function aside(): string[] {
  return readdirSync(dataDir).filter((name) => name.startsWith('quarantine-'));
}

test('a journal that is sound, because a copy was put back meanwhile, goes on and is not given up', async () => {
  for (const keepsRest of [true, false])
    expect(await acceptLoss(dataDir, clock, keepsRest)).toBe(null);
  expect(aside()).toEqual([]);
});

test('one that a daemon has open is left alone', async () => {
  writeFileSync(files.loss, 'its end is gone\n');
  const lock = lockDirectory(dataDir);
  expect(await acceptLoss(dataDir, clock, false)).toBe(null);
  lock.release();
  expect(aside()).toEqual([]);
});

test('what is lost is accepted, with what is left where it can be kept', async () => {
  writeFileSync(files.loss, 'its end is gone\n');
  expect(await acceptLoss(dataDir, clock, true)).toBe('accept-loss --keep: 0');
  expect(aside()).toHaveLength(1);
  writeFileSync(files.loss, 'its end is gone\n');
  expect(await acceptLoss(dataDir, clock, false)).toBe('accept-loss: 0');
  expect(aside()).toHaveLength(2);
});

test('what cannot be kept is moved aside as a whole', async () => {
  writeFileSync(files.loss, 'its end is gone\n');
  writeFileSync(files.database, 'no database');
  expect(await acceptLoss(dataDir, clock, true)).toBe('accept-loss: 0');
  expect(readdirSync(files.directory)).toEqual([]);
});
