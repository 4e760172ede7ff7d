/** A journal that was pruned: damage to it, kills while it is, and copies of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DAY_MS } from '../../shared/core/time.ts';
import { eventHash } from '../../shared/platform/entry-hash.ts';
import { FIRST_PREVIOUS_HASH, type JournalEvent } from '../../shared/wire/operation.ts';
import { journalFiles, type JournalFiles } from '../../dataplane/journal/journal-files.ts';
import { runJournalTool } from '../../dataplane/journal/journal-tool.ts';
import { rememberedOf, verifyJournal } from '../../dataplane/journal/start-verification.ts';
import { AgedJournal, expectSound } from '../fakes/aged-journal.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { copyJournal } from '../fakes/journal-image.ts';
import {
  makePrunable,
  runPruneKill,
  type PruneKill,
} from '../faults/campaigns/failpoints-prune.ts';
import { Undo } from '../faults/undo.ts';

let directory: string;
let clock: FakeClock;
let aged: AgedJournal;
let copies = 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'retention-'));
  clock = new FakeClock();
  aged = new AgedJournal(join(directory, 'journal'), clock);
});

afterEach(async () => {
  await aged.journal.close();
  rmSync(directory, { recursive: true });
});

/** Something newer, so that what is looked at is not the newest of all, and all of it reported. */
async function goOn(): Promise<void> {
  await aged.done(`later-${aged.journal.head().seq}`);
  await aged.report();
}

describe('damage to a journal that was pruned is noticed', () => {
  let image: JournalFiles;

  beforeEach(async () => {
    await aged.journal.submit({ type: 'check_fence', resource: 'orders/1', epoch: 7 });
    await aged.journal.submit({
      type: 'write_register',
      app: 'demo',
      key: 'seen',
      valueText: '1',
      replaces: null,
      resource: 'orders/1',
      epoch: 7,
      isKnownHere: true,
      registersMax: 1,
    });
    await aged.outage();
    await aged.outage();
    for (let count = 0; count < 5; count += 1) await aged.done(`k${count}`);
    await aged.admit('kept');
    await aged.start('kept');
    await aged.apply('kept', { kind: 'save_checkpoint', attempt: 1, checkpoint: 1 });
    await aged.done('last');
    // Of the last two the first is where the journal is pruned, and is gone itself.
    await aged.refuse('ref_1');
    await aged.refuse('ref_2');
    await aged.report();
    clock.jump(8 * DAY_MS);
    await aged.prune();
    await goOn();
    image = copy(aged.files);
  });

  function copy(from: JournalFiles): JournalFiles {
    const files = journalFiles(join(directory, `copy-${(copies += 1)}`, 'journal'));
    copyJournal(from, files);
    return files;
  }

  const OF_KEPT = "operation_id = 'op_kept'";
  test.each([
    "UPDATE facts SET value = CAST(value AS INTEGER) - 1 WHERE name = 'pruned_seq'",
    "UPDATE facts SET value = CAST(value AS INTEGER) + 1 WHERE name = 'pruned_seq'",
    "UPDATE facts SET value = 2 WHERE name = 'pruned_seq'",
    "DELETE FROM facts WHERE name = 'pruned_seq'",
    "UPDATE facts SET value = replace(value, substr(value, 1, 1), 'x') WHERE name = 'pruned_hash'",
    "DELETE FROM facts WHERE name = 'pruned_hash'",
    "DELETE FROM facts WHERE name LIKE 'pruned%'",
    "DELETE FROM events WHERE seq = (SELECT value + 1 FROM facts WHERE name = 'pruned_seq')",
    `DELETE FROM events WHERE ${OF_KEPT} AND kind = 'admitted'`,
    `DELETE FROM events WHERE ${OF_KEPT} AND kind = 'attempt_started'`,
    `UPDATE events SET body = replace(body, '"attempt":1', '"attempt":2') WHERE ${OF_KEPT} AND kind = 'attempt_started'`,
    `UPDATE events SET at_ms = at_ms - 1 WHERE ${OF_KEPT} AND kind = 'admitted'`,
    `DELETE FROM operations WHERE seq = (SELECT min(seq) FROM events WHERE ${OF_KEPT})`,
    `UPDATE operations SET state = 'succeeded' WHERE seq = (SELECT min(seq) FROM events WHERE ${OF_KEPT})`,
    `UPDATE operations SET key_hash = key_hash + 1 WHERE seq = (SELECT min(seq) FROM events WHERE ${OF_KEPT})`,
    `UPDATE operations SET record = replace(record, '"attempt":1', '"attempt":2') WHERE seq = (SELECT min(seq) FROM events WHERE ${OF_KEPT})`,
    `DELETE FROM kept_entries WHERE seq = (SELECT min(seq) FROM events WHERE ${OF_KEPT})`,
    'UPDATE kept_entries SET previous_hash = replace(previous_hash, substr(previous_hash, 1, 1), "x")',
    'UPDATE outages SET record = replace(record, \'"cause":"timeout"\', \'"cause":"refused"\')',
    'UPDATE fences SET epoch = epoch - 1',
    "UPDATE registers SET value = '2'",
    'UPDATE registers SET version = version - 1',
    "DELETE FROM events WHERE seq > (SELECT value FROM facts WHERE name = 'pruned_seq')",
  ])('%s', (sql) => {
    expectSound(image);
    const database = new DatabaseSync(image.database, { enableDoubleQuotedStringLiterals: true });
    expect(Number(database.prepare(sql).run().changes)).toBeGreaterThan(0);
    database.close();
    for (const entriesMax of [Number.MAX_SAFE_INTEGER, 12]) {
      const { kind } = verifyJournal(image, { entriesMax });
      expect([entriesMax, kind]).not.toEqual([entriesMax, 'ok']);
      expect(kind).not.toBe('fresh');
    }
  });

  test('a place of pruning that the head file does not know yet, with another hash', () => {
    // As a kill between COMMIT and that file leaves it: the chain alone can tell.
    const known = rememberedOf(image);
    if (known.headFile.kind !== 'read') throw new Error(known.headFile.kind);
    const headFile = { ...known.headFile, pruned: { seq: 0, hash: FIRST_PREVIOUS_HASH } };
    const remembered = { ...known, headFile };
    const verdict = () => verifyJournal(image, { entriesMax: 2, remembered }).kind;
    expect(verdict()).toBe('ok');
    const database = new DatabaseSync(image.database);
    database.exec("UPDATE facts SET value = 'x' || substr(value, 2) WHERE name = 'pruned_hash'");
    database.close();
    expect(verdict()).toBe('broken_chain');
  });

  test('a journal that has forgotten what control does not hold', () => {
    const database = new DatabaseSync(image.database);
    database.exec("DELETE FROM facts WHERE name LIKE 'acked%'");
    database.close();
    expect(verifyJournal(image)).toMatchObject({
      kind: 'lost',
      evidence: [
        expect.stringMatching(/pruned up to entry \d+ and control holds it up to entry 0/),
      ],
    });
  });

  test('a record that is not the one that was written is not pruned, and is found', async () => {
    await aged.done('damaged');
    await goOn();
    const at = "seq = (SELECT min(seq) FROM events WHERE operation_id = 'op_damaged')";
    const database = new DatabaseSync(aged.files.database);
    database.exec(`UPDATE operations SET record = replace(record, 'demo', 'dema') WHERE ${at}`);
    database.close();
    clock.jump(8 * DAY_MS);
    await aged.prune();
    expect(await aged.knows('last')).toBe(false);
    expect(verifyJournal(aged.files)).toMatchObject({
      kind: 'broken_chain',
      evidence: [expect.stringContaining('op_damaged')],
    });
  });

  test('an older place of pruning, with all that was there then, under a head file that knows better', () => {
    // As an old copy of the page would have it, and every entry of then.
    const database = new DatabaseSync(image.database);
    database.exec("UPDATE facts SET value = '0' WHERE name = 'pruned_seq'");
    database.close();
    expect(verifyJournal(image)).toMatchObject({
      evidence: expect.arrayContaining([expect.stringContaining('and journal.head has entry')]),
    });
  });
});

describe('I1: kill -9 in the middle of a step', () => {
  const undo = new Undo();
  let root: string;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'retention-killed-'));
    await makePrunable(join(root, 'prunable'));
  });
  afterAll(() => rmSync(root, { recursive: true }));

  test.for<PruneKill>([
    { point: 'journal.during_prune', at: 1 },
    { point: 'journal.during_prune', at: 2 },
    { point: 'journal.before_commit', at: 2 },
    { point: 'journal.after_commit', at: 2 },
  ])('at $point, step $at: a sound journal, and the next run ends the same', async (kill) => {
    const { problems, report } = await runPruneKill(join(root, 'prunable'), kill, { root, undo });
    expect(problems).toEqual([]);
    expect(report?.killedAt).toBe(kill.point);
  });
});

describe('copies of a journal that was pruned', () => {
  async function tool(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
    const said = { out: '', err: '' };
    const into = (name: 'out' | 'err') =>
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          said[name] += chunk.toString();
          done();
        },
      });
    const ports = { clock, out: into('out'), err: into('err') };
    const code = await runJournalTool([...argv, '--data-dir', directory], ports);
    return { code, ...said };
  }

  test('verify, export, backup and restore: it begins where it began', async () => {
    await aged.admit('kept');
    await aged.done('a');
    await goOn();
    clock.jump(8 * DAY_MS);
    await aged.prune();
    const { seq, hash } = aged.journal.reader.pruned();
    expect(await tool('verify')).toMatchObject({
      code: 0,
      out: expect.stringContaining(`; pruned up to entry ${seq}, with hash ${hash}`),
    });
    const { out, err } = await tool('export');
    const entries = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as JournalEvent);
    expect(entries.map((entry) => entry.seq)).toEqual([1, 5, 6, seq + 1]);
    expect(entries.at(-1)?.previousHash).toBe(hash);
    for (const { hash: own, previousHash, ...entry } of entries)
      expect(own).toBe(eventHash(previousHash, entry));
    expect(err).toContain(`entries up to ${seq} were pruned`);

    const path = join(directory, 'copy.db');
    expect(await tool('backup', '--to', path)).toMatchObject({ code: 0 });
    await aged.journal.close();
    rmSync(aged.files.directory, { recursive: true });
    expect(await tool('restore', '--from', path, '--accept-loss')).toMatchObject({ code: 0 });
    expectSound(aged.files);
    aged = new AgedJournal(aged.files.directory, clock);
    expect(aged.keys()).toEqual(['kept', 'later-4']);
    expect(aged.journal.reader.pruned()).toEqual({ seq, hash });
  });
});
