import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { JournalEngine } from '../../../dataplane/journal/journal-engine.ts';
import { journalFiles } from '../../../dataplane/journal/journal-files.ts';
import { openDatabase } from '../../../shared/platform/sqlite.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import { finalJournals } from '../../simulation/final-state.ts';

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'holdfast-final-'));
});
afterEach(() => rmSync(dataDir, { recursive: true }));

const OF = { host: 'host-1', hostId: 'host_1' };

/** With a loss that was told of, and no entry. */
function lostWithout(name: string): string {
  const directory = join(dataDir, name);
  mkdirSync(directory);
  const files = journalFiles(directory);
  new JournalEngine(files, new FakeClock()).close();
  writeFileSync(files.loss, 'host_unknown: no trusted key has that id\n');
  return files.database;
}

test('a journal that was given up before it had an entry is an empty one, and not damaged', () => {
  lostWithout('quarantine-1');
  expect(finalJournals(dataDir, OF)).toMatchObject([
    { isGivenUp: true, damage: null, events: [], operations: [] },
  ]);
});

test('so is one of which little more than the table of entries is left', () => {
  const database = openDatabase(lostWithout('quarantine-1'), { readOnly: false });
  database.exec('DROP TABLE registers');
  database.close();
  expect(finalJournals(dataDir, OF)).toMatchObject([{ damage: null, events: [] }]);
});

test('one in service is damaged; so is one without tables', () => {
  writeFileSync(lostWithout('quarantine-1'), '');
  lostWithout('journal');
  expect(finalJournals(dataDir, OF)).toMatchObject([
    { isGivenUp: true, damage: expect.stringContaining('host_unknown') as string },
    { isGivenUp: false, damage: expect.stringContaining('host_unknown') as string },
  ]);
});
