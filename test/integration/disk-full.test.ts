/** A disk that fills up and has room again, and one that is slow: with a real journal and ballast. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../shared/platform/clock.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import type { JournalAnswer, JournalCommand } from '../../dataplane/journal/journal-command.ts';
import { DiskWatch, LOOK_AFTER_COMMIT_MS } from '../../dataplane/journal/disk-watch.ts';
import { JournalEngine } from '../../dataplane/journal/journal-engine.ts';
import { journalFiles } from '../../dataplane/journal/journal-files.ts';
import { Journal } from '../../dataplane/journal/journal.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { FakeDisk } from '../fakes/fake-disk.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import { newEntry } from '../fakes/journal-image.ts';
import { openTestSidecar } from '../fakes/sidecar-app.ts';
import { NOTIFY, callerOf } from '../fakes/sidecar-caller.ts';

const MIB = 1024 * 1024;
const BALLAST_BYTES = 3 * MIB;
/** Marks of 8, 2 and 2 MiB. */
const DISK_BYTES = 64 * MIB;

let directory: string;
let disk: FakeDisk;
let clock: FakeClock;
let logged: Record<string, unknown>[];
let cleanUp: (() => Promise<unknown>)[];

beforeEach(() => {
  directory = mkdtempSync(`${tmpdir()}/disk-full-`);
  disk = new FakeDisk(DISK_BYTES, journalFiles(directory).ballast);
  clock = new FakeClock();
  logged = [];
  cleanUp = [];
});
afterEach(async () => {
  for (const undo of cleanUp.toReversed()) await undo();
  rmSync(directory, { recursive: true });
});

function openWatch(ballastBytes = BALLAST_BYTES): Promise<DiskWatch> {
  const destination = { write: (line: string) => void logged.push(JSON.parse(line) as never) };
  return DiskWatch.open({
    directory,
    ballastPath: journalFiles(directory).ballast,
    ballastBytes,
    readSpace: disk.readSpace,
    clock,
    random: new FakeRandom(),
    logger: createLogger({ name: 'test', level: 'debug', destination }),
  });
}

/** Resolves when its ballast is made as far as there is room for it. */
async function runWatch(watch: DiskWatch): Promise<void> {
  const stop = new AbortController();
  const running = watch.task().run(stop.signal);
  cleanUp.push(async () => {
    stop.abort();
    await running;
  });
  await clock.whenWaiting();
}

/** The next look by the interval, and what follows from it. */
async function nextLook(): Promise<void> {
  await clock.advance(1_000);
  await clock.whenWaiting();
}

async function openUnder(watch: DiskWatch): Promise<{ journal: Journal; turnedAway: string[] }> {
  const turnedAway: string[] = [];
  const journal = await openJournal(directory, new SystemClock());
  cleanUp.push(() => journal.close());
  journal.useIntake({
    noRoom: () => watch.noRoom(),
    waitMsMax: Number.POSITIVE_INFINITY,
    onTurnedAway: (reason) => turnedAway.push(reason),
  });
  return { journal, turnedAway };
}

const apply = (operationId: string) => ({ type: 'apply', operationId, app: 'demo' }) as const;
const START = { kind: 'start_attempt', supersede: false, key: null, ownership: null } as const;

describe('a disk that fills up under a journal', () => {
  test('I1, I2, I8: new work is refused, known keys are answered, accepted work goes on to its end', async () => {
    const watch = await openWatch();
    await runWatch(watch);
    const { journal, turnedAway } = await openUnder(watch);
    await journal.admit(newEntry('before'));
    disk.leaveFree(8 * MIB - 1);
    await nextLook();
    expect(watch.state().pressure).toBe('soft');
    await expect(journal.admit(newEntry('new'))).rejects.toMatchObject({
      code: 'journal_full',
      message: expect.stringContaining('8.0 MiB are free'),
      extras: { retry_after_ms: 5_000 },
    });
    expect(await journal.admit(newEntry('before'))).toMatchObject({ replayed: true });
    expect(await journal.admit(newEntry('before', { other: 1 }))).toMatchObject({
      code: 'idempotency_key_reused',
    });
    expect(await journal.submit({ ...apply('op_before'), event: START })).toMatchObject({
      operation: { state: 'executing' },
    });
    const cancel = { kind: 'cancel', reason: 'enough' } as const;
    expect(await journal.submit({ ...apply('op_before'), event: cancel })).toMatchObject({
      operation: { state: 'cancelled' },
    });
    expect(journal.operationCounts()).toMatchObject({ cancelled: 1, accepted: 0 });
    expect(turnedAway).toEqual(['journal_full']);
    expect(disk.ballastBytes).toBe(BALLAST_BYTES);
  });

  test('the ballast is given back below the hard mark, and made again with room', async () => {
    const watch = await openWatch();
    await runWatch(watch);
    expect(disk.ballastBytes).toBe(BALLAST_BYTES);
    disk.leaveFree(2 * MIB - 1);
    await nextLook();
    expect(watch.state()).toMatchObject({ pressure: 'hard', ballastBytes: 0 });
    expect(disk.ballastBytes).toBe(0);
    // Above the mark, and not by the margin: the answer does not flap.
    disk.leaveFree((8 + 3 + 2) * MIB - 1);
    await nextLook();
    expect(watch.noRoom()).not.toBeNull();
    expect(disk.ballastBytes).toBe(0);
    disk.leaveFree((8 + 3 + 2) * MIB);
    await nextLook();
    expect(watch.noRoom()).toBeNull();
    expect(disk.ballastBytes).toBe(BALLAST_BYTES);
    expect(logged.map(({ msg }) => msg)).toEqual([
      'the disk is nearly full: new work is refused',
      'the disk has room: work is admitted',
    ]);
  });

  test('I1: one that is full at the start has its ballast back before the journal is opened', async () => {
    writeFileSync(journalFiles(directory).ballast, Buffer.alloc(BALLAST_BYTES, 1));
    disk.leaveFree(0);
    const watch = await openWatch();
    expect(disk.ballastBytes).toBe(0);
    expect(watch.state().pressure).toBe('hard');
    const { journal } = await openUnder(watch);
    await expect(journal.admit(newEntry('new'))).rejects.toMatchObject({ code: 'journal_full' });
    expect(journal.head().seq).toBe(0);
  });

  test('a refusal is told and not recorded: nobody can fill the last room with them', async () => {
    const sidecar = await openTestSidecar();
    cleanUp.push(() => sidecar.close());
    const { admit } = callerOf(() => sidecar);
    expect((await admit(NOTIFY, 'known')).statusCode).toBe(201);
    const { seq } = sidecar.journal.head();
    sidecar.journal.useIntake({
      noRoom: () => '1 byte is free',
      waitMsMax: Number.POSITIVE_INFINITY,
      onTurnedAway: () => undefined,
    });
    const full = await admit(NOTIFY, 'new');
    expect(full.json()).toMatchObject({ code: 'journal_full', detail: '1 byte is free' });
    expect([full.statusCode, full.headers['retry-after']]).toEqual([507, '5']);
    expect((await admit({ ...NOTIFY, action: 'no.such' }, 'denied')).statusCode).toBe(507);
    expect((await admit(NOTIFY, 'known')).statusCode).toBe(200);
    expect(sidecar.journal.head().seq).toBe(seq);
  });

  test('a request that was queued while there was room is judged when it is written', async () => {
    const { journal, batches } = slowJournal();
    let noRoom: string | null = null;
    journal.useIntake({
      noRoom: () => noRoom,
      waitMsMax: Number.POSITIVE_INFINITY,
      onTurnedAway: () => undefined,
    });
    const first = journal.submit({ type: 'acknowledge', seq: 1 });
    await turn();
    const queued = journal.admit(newEntry('queued'));
    noRoom = 'full';
    batches[0]?.finish();
    await first;
    await turn();
    batches[1]?.finish();
    await expect(queued).rejects.toMatchObject({ code: 'journal_full', message: 'full' });
  });
});

describe('the watch', () => {
  test('a ballast that is whole is left as it is at the next start, and cut where less is asked', async () => {
    await runWatch(await openWatch());
    const { path, made } = { path: journalFiles(directory).ballast, made: disk.ballastBytes };
    const { mtimeMs, blocks } = statSync(path);
    expect(blocks * 512).toBeGreaterThanOrEqual(made);
    await runWatch(await openWatch());
    expect(statSync(path).mtimeMs).toBe(mtimeMs);
    await openWatch(MIB);
    expect(disk.ballastBytes).toBe(MIB);
  });

  test('a small file system gets less, and that is said', async () => {
    disk = new FakeDisk(8 * MIB, journalFiles(directory).ballast);
    await runWatch(await openWatch());
    expect(disk.ballastBytes).toBe(MIB);
    expect(logged).toMatchObject([
      { askedBytes: BALLAST_BYTES, ballastBytes: MIB, softBytes: MIB },
    ]);
  });

  test('where the room cannot be read the last verdict stays, and that is said once', async () => {
    const watch = await openWatch();
    await runWatch(watch);
    disk.leaveFree(MIB);
    await nextLook();
    disk.failure = new Error('EIO: statfs');
    await nextLook();
    await nextLook();
    expect(watch.noRoom()).toContain('the free space cannot be read: EIO: statfs');
    expect(logged.filter(({ trouble }) => String(trouble).includes('EIO'))).toHaveLength(1);
    disk.failure = null;
    disk.leaveFree(30 * MIB);
    await nextLook();
    expect(watch.noRoom()).toBeNull();
  });

  test('it looks after commits as well, one look at a time and not after each', async () => {
    const watch = await openWatch();
    const before = disk.looks;
    watch.committed();
    expect(disk.looks).toBe(before);
    clock.jump(LOOK_AFTER_COMMIT_MS);
    watch.committed();
    watch.committed();
    await watch.look();
    expect(disk.looks).toBe(before + 1);
  });
});

describe('a disk that is slow', () => {
  test('I10: new work is turned away at once, accepted work joins the queue', async () => {
    const { journal, batches } = slowJournal();
    const turnedAway: string[] = [];
    journal.useIntake({
      noRoom: () => null,
      waitMsMax: 2_000,
      onTurnedAway: (reason) => turnedAway.push(reason),
    });
    const first = journal.submit({ type: 'acknowledge', seq: 1 });
    await turn();
    clock.jump(1_900);
    const accepted = journal.submit({ type: 'find_key', app: 'demo', idempotencyKey: 'in time' });
    clock.jump(200);
    expect(journal.isShedding()).toBe(true);
    for (const submitted of [
      journal.admit(newEntry('new')),
      journal.operationByKey('demo', 'new'),
    ]) {
      await expect(submitted).rejects.toMatchObject({
        code: 'journal_busy',
        extras: { retry_after_ms: 2_100 },
      });
    }
    const goesOn = journal.submit({ ...apply('op_x'), event: START });
    expect(turnedAway).toEqual(['journal_busy', 'journal_busy']);
    batches[0]?.finish();
    await first;
    await turn();
    expect(batches[1]?.commands.map(({ type }) => type)).toEqual(['find_key', 'apply']);
    batches[1]?.finish();
    await Promise.all([accepted, goesOn]);
    // Nothing is on its way: the next one finds out whether the disk is well again.
    expect(journal.isShedding()).toBe(false);
  });
});

type Batch = { readonly commands: readonly JournalCommand[]; finish(): void };

function answerTo(command: JournalCommand): JournalAnswer {
  return command.type === 'admit' && command.noRoom !== undefined
    ? { type: 'declined', code: 'journal_full', detail: command.noRoom }
    : { type: 'recorded' };
}

/** Over a writer that commits when it is told to. */
function slowJournal(): { journal: Journal; batches: Batch[] } {
  const batches: Batch[] = [];
  const engine = new JournalEngine(journalFiles(directory), new SystemClock());
  const snapshot = engine.snapshot();
  engine.close();
  const journal = new Journal({
    writer: {
      write: (commands) =>
        new Promise((resolve) => {
          const answers = commands.map(answerTo);
          batches.push({ commands, finish: () => resolve({ ...snapshot, answers }) });
        }),
      close: () => Promise.resolve(),
    },
    reader: null,
    snapshot,
    clock,
  });
  cleanUp.push(() => journal.close());
  return { journal, batches };
}

/** What waits for a promise has had its turn. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
