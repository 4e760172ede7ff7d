import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../shared/platform/clock.ts';
import { eventHash } from '../../shared/platform/entry-hash.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import type {
  BatchAnswer,
  JournalCommand,
  JournalWriter,
} from '../../dataplane/journal/journal-command.ts';
import { JournalEngine } from '../../dataplane/journal/journal-engine.ts';
import { journalFiles } from '../../dataplane/journal/journal-files.ts';
import { JournalReader } from '../../dataplane/journal/journal-reader.ts';
import { ThreadWriter } from '../../dataplane/journal/journal-writer.ts';
import { Journal } from '../../dataplane/journal/journal.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { newEntry } from '../fakes/journal-image.ts';

const clock = new SystemClock();
let directory: string;
let open: Journal[] = [];

beforeEach(() => {
  directory = mkdtempSync(`${tmpdir()}/journal-`);
  open = [];
});

afterEach(async () => {
  await Promise.all(open.map((journal) => journal.close()));
  rmSync(directory, { recursive: true });
});

async function opened(): Promise<Journal> {
  const journal = await openJournal(directory, clock);
  open.push(journal);
  return journal;
}

describe('I1: durable before acknowledged', () => {
  test('what was answered is there for another process that opens the files', async () => {
    const journal = await opened();
    await journal.admit(newEntry('a'));
    const reader = new DatabaseSync(`${directory}/journal.db`, { readOnly: true });
    expect(reader.prepare('SELECT count(*) AS n FROM operations').get()).toEqual({ n: 1 });
    expect(reader.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    reader.close();
  });

  test('a failed commit tells every caller that the outcome is unknown, and nothing is accepted after it', async () => {
    const engine = new JournalEngine(journalFiles(directory), clock);
    let fail = false;
    const writer: JournalWriter = {
      write: async (commands) => {
        if (fail) throw new Error('disk I/O error');
        return engine.write(commands);
      },
      close: async () => engine.close(),
    };
    const journal = new Journal({
      writer,
      reader: new JournalReader(`${directory}/journal.db`),
      snapshot: engine.snapshot(),
      clock,
    });
    await journal.admit(newEntry('a'));
    fail = true;
    const outcomes = await Promise.allSettled([
      journal.admit(newEntry('b')),
      journal.admit(newEntry('c')),
    ]);
    expect(outcomes).toMatchObject([
      { status: 'rejected', reason: { code: 'outcome_unknown' } },
      { status: 'rejected', reason: { code: 'outcome_unknown' } },
    ]);
    await expect(journal.admit(newEntry('d'))).rejects.toMatchObject({ code: 'outcome_unknown' });
    await expect(journal.failed).rejects.toThrow(/disk I\/O error/);
    await journal.close();
    engine.close();
  });
});

describe('I2: once per key', () => {
  test('fifty callers with one key at the same time get one operation', async () => {
    const journal = await opened();
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => journal.admit(newEntry('same'))),
    );
    expect(
      new Set(
        answers.map((answer) =>
          answer.type === 'admitted' ? answer.operation.operationId : answer.type,
        ),
      ),
    ).toEqual(new Set(['op_same']));
    expect(answers.filter((answer) => answer.type === 'admitted' && !answer.replayed)).toHaveLength(
      1,
    );
    expect(journal.operationCounts()).toEqual({ accepted: 1 });
  });

  test('another payload under the key is declined, also after a restart', async () => {
    const first = await opened();
    await first.admit(newEntry('k', { n: 1 }));
    expect(await first.admit(newEntry('k', { n: 2 }))).toMatchObject({
      type: 'declined',
      code: 'idempotency_key_reused',
    });
    await first.close();
    open = [];
    const second = await opened();
    expect(await second.admit(newEntry('k', { n: 2 }))).toMatchObject({
      type: 'declined',
      code: 'idempotency_key_reused',
    });
    expect(await second.admit(newEntry('k', { n: 1 }))).toMatchObject({
      type: 'admitted',
      replayed: true,
    });
  });

  test('authority that ended while the request waited admits nothing', async () => {
    const journal = await opened();
    expect(
      await journal.admit({ ...newEntry('late'), authorityEndsBootMs: clock.now().bootMs - 1_000 }),
    ).toMatchObject({ type: 'declined', code: 'policy_expired' });
    expect(journal.operationCounts()).toEqual({});
  });
});

describe('group commit', () => {
  test('commands are handed over a few at a time while the writer works, then gather, and the queue is bounded', async () => {
    const batches: number[] = [];
    const releases: (() => void)[] = [];
    const answers = (commands: readonly JournalCommand[]): BatchAnswer => ({
      answers: commands.map(() => ({ type: 'recorded' as const })),
      head: { seq: 0, hash: FIRST_PREVIOUS_HASH },
      ackedSeq: 0,
      counts: {},
      commitMs: 0,
    });
    const writer: JournalWriter = {
      write: (commands) => {
        batches.push(commands.length);
        return new Promise((resolve) => releases.push(() => resolve(answers(commands))));
      },
      close: () => Promise.resolve(),
    };
    new JournalEngine(journalFiles(directory), clock).close();
    const journal = new Journal({
      writer,
      reader: new JournalReader(`${directory}/journal.db`),
      snapshot: answers([]),
      clock,
    });
    const tick = () => new Promise((resolve) => setImmediate(resolve));
    const finishOldest = async (): Promise<void> => {
      releases.shift()?.();
      await tick();
    };
    const acknowledge = () => journal.submit({ type: 'acknowledge', seq: 1 });
    const first = acknowledge();
    await tick();
    const early = Array.from({ length: 7 }, () => 16);
    const rest = Array.from({ length: 7 * 16 + 8_192 }, acknowledge);
    expect(batches).toEqual([1, ...early]);
    await expect(acknowledge()).rejects.toMatchObject({ code: 'journal_busy' });
    await finishOldest();
    await first;
    while (releases.length > 0) await finishOldest();
    await Promise.all(rest);
    expect(batches).toEqual([1, ...early, ...Array.from({ length: 16 }, () => 512)]);
    await journal.close();
  });

  test('what waits for the writer goes into one transaction, and each batch gets its own answers', async () => {
    const { writer, snapshot } = await ThreadWriter.open(journalFiles(directory), clock);
    const fence = (epoch: number): JournalCommand => ({
      type: 'check_fence',
      resource: 'orders/1',
      epoch,
      now: clock.now(),
      outageId: null,
    });
    const sizes = [1, 3, 2, 5];
    let epoch = 0;
    const written = await Promise.all(
      sizes.map((size) => writer.write(Array.from({ length: size }, () => fence((epoch += 1))))),
    );
    expect(written.map((batch) => batch.answers.length)).toEqual(sizes);
    expect(
      written.flatMap((batch) =>
        batch.answers.map((answer) => answer.type === 'fence' && answer.highestEpoch),
      ),
    ).toEqual(Array.from({ length: epoch }, (_, at) => at + 1));
    expect(written.at(-1)?.head.seq).toBe(snapshot.head.seq + epoch);
    await writer.close();
  });
});

describe('one transaction', () => {
  const admissions = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, at) => newEntry(`k${from + at}`));

  test('J2: what a command reads is what those before it in its batch admitted', async () => {
    const journal = await opened();
    const cancel = { kind: 'cancel', reason: 'no longer wanted' } as const;
    const [, cancelled, , again, found] = await Promise.all([
      Promise.all(admissions(0, 45).map((entry) => journal.admit(entry))),
      journal.submit({ type: 'apply', operationId: 'op_k44', app: 'demo', event: cancel }),
      Promise.all(admissions(45, 60).map((entry) => journal.admit(entry))),
      journal.admit(newEntry('k59')),
      journal.operationByKey('demo', 'k58'),
    ]);
    expect(cancelled).toMatchObject({ type: 'applied', operation: { state: 'cancelled' } });
    expect(again).toMatchObject({ replayed: true, operation: { operationId: 'op_k59' } });
    expect(found?.operationId).toBe('op_k58');
    expect(journal.operationCounts()).toEqual({ accepted: 59, cancelled: 1 });
    expectWholeChain(journal, 61);
    expect(journal.operation('op_k7')).toMatchObject({ idempotencyKey: 'k7', state: 'accepted' });
  });

  test('J6: one command that cannot be applied costs those around it nothing', async () => {
    const journal = await opened();
    const [before, wrong, after] = await Promise.all([
      Promise.all(admissions(0, 40).map((entry) => journal.admit(entry))),
      journal.admit({ ...newEntry('wrong'), operationId: {} as unknown as string }),
      Promise.all(admissions(40, 50).map((entry) => journal.admit(entry))),
    ]);
    expect(wrong).toMatchObject({ type: 'declined', code: 'internal' });
    for (const answer of [...before, ...after]) expect(answer).toMatchObject({ replayed: false });
    expectWholeChain(journal, 50);
  });
});

function expectWholeChain(journal: Journal, length: number): void {
  const events = journal.eventsAfter(0, 1_000);
  expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length }, (_, at) => at + 1));
  let previous = FIRST_PREVIOUS_HASH;
  for (const { hash, previousHash, ...entry } of events) {
    expect(previousHash).toBe(previous);
    expect(eventHash(previousHash, entry)).toBe(hash);
    previous = hash;
  }
  expect(journal.head()).toEqual({ seq: length, hash: previous });
}

describe('the chain', () => {
  test('every entry follows the one before it, and what is read back is what was hashed', async () => {
    const journal = await opened();
    await journal.admit(newEntry('a', { text: 'ünïcødé', nested: { b: 1, a: undefined } }));
    await journal.submit({
      type: 'apply',
      operationId: 'op_a',
      app: 'demo',
      event: { kind: 'cancel', reason: 'no longer wanted' },
    });
    const events = journal.eventsAfter(0, 10);
    expect(events.map(({ kind }) => kind)).toEqual(['admitted', 'cancelled']);
    expectWholeChain(journal, 2);
  });

  test('I6: a fence is durable and never goes back', async () => {
    const first = await opened();
    expect(
      await first.submit({ type: 'check_fence', resource: 'orders/1', epoch: 7 }),
    ).toMatchObject({ accepted: true, highestEpoch: 7 });
    await first.close();
    open = [];
    const second = await opened();
    expect(
      await second.submit({ type: 'check_fence', resource: 'orders/1', epoch: 6 }),
    ).toMatchObject({ accepted: false, highestEpoch: 7 });
    expect(
      await second.submit({ type: 'check_fence', resource: 'orders/1', epoch: 7 }),
    ).toMatchObject({ accepted: true });
  });

  test('a journal of a newer schema is refused with the way out', async () => {
    await (await opened()).close();
    open = [];
    const database = new DatabaseSync(`${directory}/journal.db`);
    database.exec("INSERT INTO schema_migrations VALUES (99, 'from the future', 'x')");
    database.close();
    await expect(openJournal(directory, clock)).rejects.toMatchObject({
      code: 'schema_newer',
      message: expect.stringContaining('run the newer program'),
    });
  });
});
