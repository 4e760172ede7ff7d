import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MINUTE_MS, SECOND_MS } from '../../shared/core/time.ts';
import type { JournalEvent } from '../../shared/wire/operation.ts';
import { reportedIn } from '../fakes/reported-entries.ts';
import { REQUEST_TIMEOUT_MS, UpstreamWorld } from '../fakes/upstream-world.ts';

let world: UpstreamWorld;
beforeEach(async () => {
  world = await UpstreamWorld.create();
  await world.startWithPolicy();
});
afterEach(() => world.dispose());

const seqs = (events: readonly JournalEvent[]): number[] => events.map(({ seq }) => seq);
const isReported = (): boolean => world.control.ackedSeq === world.feed.head().seq;
const batches = (): number[][] =>
  world.control.seen
    .filter(({ route }) => route === 'reports')
    .map(({ request }) => seqs(reportedIn(request.body ?? '')));
const failures = (reason: string): number =>
  world.metrics.value('holdfast_report_failures_total', { reason });

describe('I12: reports', () => {
  test('every entry goes up once, in order, and its acknowledgement is kept', async () => {
    world.feed.commit(3);
    await world.passUntil(isReported, 'reported');
    world.feed.commit(2);
    await world.passUntil(isReported, 'reported');
    expect(world.control.reported).toEqual(world.feed.events);
    expect(world.feed.acknowledged).toBe(world.feed.head().seq);
  });

  test('a commit is reported soon, without waiting for the next sync', async () => {
    await world.passUntil(isReported, 'reported');
    await world.pass(2 * SECOND_MS);
    world.feed.commit();
    const startedMs = world.clock.now().bootMs;
    await world.passUntil(isReported, 'reported');
    expect(world.clock.now().bootMs - startedMs).toBeLessThan(500);
  });

  test('many entries go up in batches that grow, of at most 2,000, one after the other', async () => {
    await world.passUntil(isReported, 'reported');
    world.feed.commit(7_654);
    await world.passUntil(isReported, 'reported');
    expect(Math.max(...batches().map(({ length }) => length))).toBe(2_000);
    expect(seqs(world.control.reported)).toEqual(seqs(world.feed.events));
  });

  test('entries of many bytes go up in smaller batches', async () => {
    await world.passUntil(isReported, 'reported');
    world.feed.commit(40, 'fence_advanced', { result: 'x'.repeat(500_000) });
    await world.passUntil(isReported, 'reported');
    const sizes = world.control.seen
      .filter(({ route }) => route === 'reports')
      .map(({ request }) => request.body?.length ?? 0);
    expect(Math.max(...sizes)).toBeLessThan(2 * 1024 * 1024);
    expect(seqs(world.control.reported)).toEqual(seqs(world.feed.events));
  });

  test('an older control, which takes no lines, gets JSON', async () => {
    await world.passUntil(isReported, 'reported');
    world.control.takesLines = false;
    world.feed.commit(1_100);
    await world.passUntil(isReported, 'reported');
    expect(failures('unsupported_media_type')).toBe(1);
    expect(world.control.reported).toEqual(world.feed.events);
    const inJson = world.control.seen.filter(({ request }) =>
      request.body?.startsWith('{"events"'),
    );
    const sizes = inJson.map(({ request }) => reportedIn(request.body ?? '').length);
    expect(Math.max(...sizes)).toBe(500);
  });

  test('a batch that is refused for its form is halved until the entry is known; it is tried again', async () => {
    await world.passUntil(isReported, 'reported');
    const poison = world.feed.head().seq + 17;
    world.control.refusesEntry = poison;
    world.feed.commit(40);
    await world.passUntil(() => world.control.ackedSeq === poison - 1, 'all before it reported');
    await world.passUntil(() => world.hasLogged('control refuses this entry'), 'told');
    expect(world.upstream.reportsStopped()).toBeNull();
    world.control.refusesEntry = null;
    await world.passUntil(isReported, 'reported');
    expect(world.control.reported).toEqual(world.feed.events);
  });

  test('an entry that is not what was written stops the reports, and is named', async () => {
    await world.passUntil(isReported, 'reported');
    world.feed.commit(3);
    const damaged = world.feed.events.at(-2)!;
    damaged.body['added'] = 'another';
    await world.passUntil(() => world.upstream.reportsStopped() !== null, 'stopped');
    expect(world.upstream.reportsStopped()).toContain(
      `entry ${damaged.seq} is not what was written`,
    );
    expect(world.metrics.value('holdfast_reports_stopped')).toBe(1);
  });

  test('a lost answer costs a repetition, never an entry', async () => {
    await world.passUntil(isReported, 'reported');
    world.control.behave('reports', { kind: 'late', delayMs: MINUTE_MS });
    world.feed.commit(2);
    await world.pass(REQUEST_TIMEOUT_MS + SECOND_MS);
    world.control.up();
    await world.passUntil(() => world.feed.acknowledged === world.feed.head().seq, 'acknowledged');
    expect(seqs(world.control.reported)).toEqual(seqs(world.feed.events));
  });

  test('after an outage all that happened goes up, in order', async () => {
    world.control.down();
    await world.passUntil(() => world.upstream.outages.current() !== null, 'an outage');
    world.feed.commit(700);
    await world.pass(5 * MINUTE_MS);
    world.control.up();
    await world.passUntil(isReported, 'reported');
    expect(seqs(world.control.reported)).toEqual(seqs(world.feed.events));
    expect(
      world.control.reported.map(({ kind }) => kind).filter((kind) => kind.startsWith('outage')),
    ).toEqual(['outage_opened', 'outage_closed']);
  });

  test('a restart goes on where control stands', async () => {
    world.feed.commit(3);
    await world.passUntil(isReported, 'reported');
    const before = batches().length;
    await world.restart();
    world.feed.commit(1);
    await world.passUntil(isReported, 'reported');
    expect(batches().slice(before).flat()).not.toContain(1);
  });

  test('control that went back gets again what it lost', async () => {
    world.feed.commit(9);
    await world.passUntil(isReported, 'reported');
    world.control.reported.length = 4;
    world.control.ackedSeq = 4;
    world.feed.commit(1);
    await world.passUntil(isReported, 'reported');
    expect(failures('report_gap')).toBe(1);
    expect(seqs(world.control.reported)).toEqual(seqs(world.feed.events));
    expect(world.hasLogged('sending them again')).toBe(true);
  });

  test('what control lost in a restore goes up again, though nothing new is written', async () => {
    world.feed.commit(9);
    await world.passUntil(isReported, 'reported');
    await world.pass(MINUTE_MS);
    const everything = seqs(world.control.reported);
    world.control.reported.splice(3);
    world.control.ackedSeq = 3;
    await world.passUntil(() => world.control.ackedSeq === everything.length, 'sent again');
    expect(seqs(world.control.reported)).toEqual(everything);
    expect(failures('report_gap')).toBe(0);
    expect(world.hasLogged('sending them again')).toBe(true);
  });

  test('what control lost and the journal no longer has stops the reports, loudly', async () => {
    world.feed.commit(9);
    await world.passUntil(isReported, 'reported');
    world.control.ackedSeq = 2;
    world.feed.prunedSeq = 6;
    world.feed.commit(1);
    await world.passUntil(() => world.upstream.reportsStopped() !== null, 'stopped');
    expect(world.upstream.reportsStopped()).toMatch(/history_gone: .* entry 3.*is 7/);
    expect(world.metrics.value('holdfast_reports_stopped')).toBe(1);
  });

  test('another history at control stops the reports loudly, and nothing else', async () => {
    world.feed.commit(2);
    await world.passUntil(isReported, 'reported');
    world.control.behave('reports', { kind: 'refuse', code: 'report_conflict' });
    world.feed.commit(2);
    await world.passUntil(() => world.upstream.reportsStopped() !== null, 'stopped');
    world.control.up();
    const sent = batches().length;
    world.feed.commit(5);
    await world.pass(2 * MINUTE_MS);
    expect(batches()).toHaveLength(sent);
    expect(failures('report_conflict')).toBe(1);
    expect(world.hasLogged('reporting has stopped')).toBe(true);
    expect(world.upstream.status().state).toBe('connected');
    expect(world.staleness()).toBeLessThan(10 * SECOND_MS);
  });

  test('I10: another history that nobody signed stops nothing', async () => {
    world.feed.commit(2);
    await world.passUntil(isReported, 'reported');
    world.control.behave('reports', { kind: 'refuse', code: 'report_conflict', signed: 'not' });
    world.feed.commit(2);
    await world.passUntil(() => failures('bad_answer') > 0, 'a failure');
    expect(world.upstream.reportsStopped()).toBeNull();
    world.control.up();
    await world.passUntil(isReported, 'reported');
  });

  test.each([
    ['more than there is', 9_999],
    ['nothing of it', 0],
  ])('I10: an acknowledgement of %s is not believed', async (_, ackedSeq) => {
    await world.passUntil(isReported, 'reported');
    const before = world.feed.acknowledged;
    world.control.behave('reports', { kind: 'alter', alter: (said) => ({ ...said, ackedSeq }) });
    const sent = batches().length;
    world.feed.commit(1);
    await world.pass(MINUTE_MS);
    expect(failures('no_progress')).toBeGreaterThan(0);
    expect(world.feed.acknowledged).toBeLessThanOrEqual(before + 1);
    expect(batches().length - sent).toBeLessThan(40);
  });

  test('control that holds more than this journal has proves a loss, and the journal is told', async () => {
    await world.passUntil(isReported, 'reported');
    const before = world.feed.acknowledged;
    world.control.ackedSeq = 9_999;
    await world.passUntil(() => failures('beyond_head') > 0, 'noticed');
    expect(world.feed.acknowledged).toBe(before);
    expect(world.feed.behindControl).toBe(9_999);
  });

  test('I10: reports that hang hold nothing else up', async () => {
    world.control.behave('reports', { kind: 'hang' });
    world.feed.commit(1);
    await world.pass(MINUTE_MS);
    expect(world.upstream.outages.current()).toBeNull();
    expect(world.staleness()).toBeLessThan(10 * SECOND_MS);
  });
});
