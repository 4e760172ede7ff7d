/** What the journal forgets, and that it forgets nothing else. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../shared/core/time.ts';
import { BatchMaker } from '../../dataplane/upstream/batch-maker.ts';
import { AgedJournal, KEPT_A_WEEK, expectSound } from '../fakes/aged-journal.ts';
import { FakeClock } from '../fakes/fake-clock.ts';

const AT_ONCE = 300;

let directory: string;
let clock: FakeClock;
let aged: AgedJournal;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'retention-'));
  clock = new FakeClock();
  aged = new AgedJournal(join(directory, 'journal'), clock);
});

afterEach(async () => {
  await aged.journal.close();
  rmSync(directory, { recursive: true });
});

/** In this order, and many in one commit: what is looked at is what they leave, not how they came. */
async function together(times: number, one: (count: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < times; from += AT_ONCE) {
    const these = Array.from({ length: Math.min(AT_ONCE, times - from) }, (_, at) => from + at);
    await Promise.all(these.map(one));
  }
}

/** Its three entries behind each other, also where others are done in the same commit. */
async function doneAtOnce(key: string, deadlineMs?: number): Promise<void> {
  await Promise.all([aged.admit(key, deadlineMs), aged.start(key), aged.end(key)]);
}

/** Something newer, so that what is looked at is not the newest of all, and all of it reported. */
async function goOn(): Promise<void> {
  await aged.done(`later-${aged.journal.head().seq}`);
  await aged.report();
}

describe('I1, I8: what may go, and when', () => {
  test('settled, reported and old enough: it goes, and its key is free again', async () => {
    await aged.done('a');
    await goOn();
    clock.jump(7 * DAY_MS - 1);
    await aged.prune();
    expect(await aged.knows('a')).toBe(true);
    clock.jump(1);
    await aged.prune();
    expect(aged.keys()).toEqual(['later-3']);
    expect(await aged.knows('a')).toBe(false);
    expect(aged.journal.operation('op_a')).toBeNull();
    const event = { kind: 'cancel', reason: 'late' } as const;
    expect(
      await aged.journal.submit({ type: 'apply', operationId: 'op_a', app: 'demo', event }),
    ).toMatchObject({ type: 'declined', code: 'operation_not_found' });
    expect(aged.journal.operationCounts()).toEqual({ accepted: 0, executing: 0, succeeded: 1 });
    expectSound(aged.files);
    await aged.admit('a');
    expect(aged.keys()).toEqual(['later-3', 'a']);
    expectSound(aged.files);
  });

  test('I8: what has not ended stays however old, and so does what is unknown', async () => {
    await aged.admit('accepted');
    await aged.admit('executing');
    await aged.start('executing');
    await aged.admit('unknown');
    await aged.start('unknown');
    await aged.end('unknown', 'unknown');
    await aged.done('done');
    await goOn();
    clock.jump(400 * DAY_MS);
    await aged.prune();
    expect(aged.keys()).toEqual(['accepted', 'executing', 'unknown', 'later-9']);
    expect(aged.journal.reader.operationEvents('op_unknown', 9).map(({ kind }) => kind)).toEqual([
      'admitted',
      'attempt_started',
      'unknown',
    ]);
    expectSound(aged.files);
    // I8: they go on from where they are, and go when they have ended for as long as all others.
    const resolve = { kind: 'resolve', provenance: 'asserted', result: null } as const;
    await aged.apply('unknown', { ...resolve, outcome: 'failed', reason: 'looked' });
    await goOn();
    expectSound(aged.files);
    clock.jump(7 * DAY_MS - 1);
    await aged.prune();
    expect(await aged.knows('unknown')).toBe(true);
    clock.jump(1);
    await aged.prune();
    expect(await aged.knows('unknown')).toBe(false);
    expect(await aged.knows('executing')).toBe(true);
    expectSound(aged.files);
  });

  test('I12: what control does not hold stays, and so does the newest that it holds', async () => {
    await aged.done('reported');
    await aged.report();
    await aged.done('unreported');
    clock.jump(400 * DAY_MS);
    await aged.prune();
    expect(aged.keys()).toEqual(['reported', 'unreported']);
    await aged.report();
    await aged.prune();
    expect(aged.keys()).toEqual(['unreported']);
    expect(aged.journal.reader.acknowledged()).toEqual(aged.journal.head());
    expectSound(aged.files);
  });

  test('I2: a key is kept until its own deadline, however long it has been settled', async () => {
    await aged.done('long', 30 * DAY_MS);
    await goOn();
    clock.jump(30 * DAY_MS - 1);
    await aged.prune();
    await aged.reopen();
    expectSound(aged.files);
    expect(await aged.knows('long')).toBe(true);
    expect(await aged.knows('later-3')).toBe(true);
    await goOn();
    await aged.prune();
    expect(aged.keys()[0]).toBe('long');
    clock.jump(1);
    await aged.prune();
    expect(await aged.knows('long')).toBe(false);
    expectSound(aged.files);
  });

  test('I2: a key still meant is answered with its record, after a prune and a restart', async () => {
    await aged.done('gone');
    await goOn();
    clock.jump(5 * DAY_MS);
    await aged.done('kept');
    await goOn();
    clock.jump(3 * DAY_MS);
    await aged.prune();
    await aged.reopen();
    expect(aged.keys()).toEqual(['kept', 'later-9']);
    const before = await aged.journal.operationByKey('demo', 'kept');
    await aged.admit('kept');
    expect(await aged.journal.operationByKey('demo', 'kept')).toEqual(before);
    expect(before).toMatchObject({ state: 'succeeded', operationId: 'op_kept' });
    expect(aged.keys()).toEqual(['kept', 'later-9']);
  });

  test('I2: a wall clock that is set forward hurries nothing, also over a restart', async () => {
    await aged.done('before the reboot');
    await goOn();
    await aged.prune();
    clock.reboot();
    await aged.done('after it');
    await goOn();
    await aged.prune();
    clock.stepWall(300 * DAY_MS);
    await aged.prune();
    await aged.reopen();
    clock.jump(HOUR_MS);
    await aged.prune();
    expect(aged.keys()).toEqual(['before the reboot', 'later-3', 'after it', 'later-9']);
    // At twice the speed it comes to what the clock says.
    clock.jump(4 * DAY_MS);
    await aged.prune();
    expect(await aged.knows('before the reboot')).toBe(false);
    expect(await aged.knows('after it')).toBe(true);
    clock.jump(4 * DAY_MS);
    await aged.prune();
    expect(await aged.knows('after it')).toBe(false);
    expectSound(aged.files);
  });

  test('refusals, policy and fence entries go by their age; fences themselves stay', async () => {
    const { journal } = aged;
    await journal.submit({ type: 'check_fence', resource: 'orders/1', epoch: 7 });
    await journal.recordPolicy('policy_activated', { policyRevision: 1 });
    await aged.refuse('ref_1');
    await goOn();
    clock.jump(7 * DAY_MS - 1);
    await aged.prune();
    expect(journal.eventsAfter(0, 9)).toHaveLength(6);
    clock.jump(1);
    await aged.prune();
    expect(journal.eventsAfter(0, 9).map(({ kind }) => kind)).toEqual(['succeeded']);
    expect(journal.reader.refusals(9)).toEqual([]);
    await aged.reopen();
    expect(
      await aged.journal.submit({ type: 'check_fence', resource: 'orders/1', epoch: 6 }),
    ).toMatchObject({ accepted: false, highestEpoch: 7 });
    expectSound(aged.files);
  });

  test('the outage that is open stays, and the newest; older ones go', async () => {
    const newest = { beforeSeq: Number.MAX_SAFE_INTEGER, limit: 9 };
    const ids = () =>
      aged.journal.reader.recovery.outages(newest).map(({ outage }) => outage.outageId);
    for (let changes = 0; changes < 5; changes += 1) {
      await aged.outage();
      await aged.outageMoment();
      await aged.outageMoment();
    }
    await goOn();
    clock.jump(8 * DAY_MS);
    await aged.prune();
    expect(ids()).toEqual(['out_3']);
    expectSound(aged.files);
    await aged.outage();
    await goOn();
    clock.jump(8 * DAY_MS);
    await aged.prune();
    expect(ids()).toEqual(['out_3']);
    expectSound(aged.files);
    await aged.outage();
    await aged.prune();
    expect(ids()).toEqual(['out_4']);
    expectSound(aged.files);
  });
});

describe('over its size', () => {
  const small = { retentionMs: 7 * DAY_MS, sizeBytesMax: 400_000 };

  test('the oldest that may go are removed before their age, never before their deadline', async () => {
    await aged.done('meant', HOUR_MS);
    await together(300, (count) => doneAtOnce(`k${count}`, MINUTE_MS));
    await goOn();
    clock.jump(2 * MINUTE_MS);
    const { usedBytes, isStuckOverSize, steps } = await aged.prune(small);
    expect({ isStuckOverSize, isWithin: usedBytes <= small.sizeBytesMax }).toEqual({
      isStuckOverSize: false,
      isWithin: true,
    });
    expect(steps).toBeGreaterThanOrEqual(1);
    expect(aged.keys()[0]).toBe('meant');
    expectSound(aged.files);
  });

  test('what may not go stays, and is said', async () => {
    await together(300, (count) => aged.admit(`k${count}`, DAY_MS));
    await goOn();
    const limits = { ...small, sizeBytesMax: 100_000 };
    expect(await aged.prune(limits)).toMatchObject({ isStuckOverSize: true, operationIds: [] });
    expect(aged.keys()).toHaveLength(301);
    expectSound(aged.files);
  });
});

describe('bounded steps', () => {
  test('two hundred operations at a time, and admissions between', async () => {
    await together(1_200, (count) => doneAtOnce(`k${count}`));
    await goOn();
    clock.jump(8 * DAY_MS);
    const first = await aged.journal.prune(KEPT_A_WEEK);
    expect(first).toMatchObject({ more: true });
    expect(first.operationIds).toHaveLength(200);
    expectSound(aged.files);
    await aged.done('between');
    expect((await aged.prune()).steps).toBe(6);
    expect(aged.keys()).toEqual(['later-3600', 'between']);
    expectSound(aged.files);
  });

  test('an operation of very many entries goes in slices, its record last', async () => {
    await aged.admit('long');
    await aged.start('long');
    const save = { kind: 'save_checkpoint', attempt: 1 } as const;
    await together(9_000, (count) => aged.apply('long', { ...save, checkpoint: { count } }));
    await aged.end('long');
    await goOn();
    clock.jump(8 * DAY_MS);
    let steps = 0;
    for (let more = true; more; steps += 1) {
      ({ more } = await aged.journal.prune(KEPT_A_WEEK));
      expectSound(aged.files);
    }
    expect(steps).toBeGreaterThan(3);
    expect(await aged.knows('long')).toBe(false);
  });
});

describe('I12: control asks for what is gone', () => {
  test('the reports stop with history_gone; what was kept is never sent as if it were next', async () => {
    await aged.admit('unsettled');
    await aged.done('a');
    await goOn();
    clock.jump(8 * DAY_MS);
    await aged.prune();
    const maker = new BatchMaker(aged.journal, () => Promise.resolve());
    const batch = (afterSeq: number) =>
      maker.make(afterSeq, { eventsMax: 100, lengthMax: 1_000_000 });
    const begin = aged.journal.reader.pruned();
    expect(begin.seq).toBe(6);
    expect(await batch(0)).toEqual({ kind: 'history_gone', neededSeq: 1, oldestSeq: 7 });
    expect(await batch(begin.seq - 1)).toMatchObject({ kind: 'history_gone' });
    expect(await batch(begin.seq)).toMatchObject({
      kind: 'batch',
      report: { previousHash: begin.hash },
    });
  });
});
