import { beforeEach, describe, expect, test } from 'vitest';
import { MOMENTS_MAX } from '../../../dataplane/core/outage-interval.ts';
import { OutageTracker } from '../../../dataplane/recovery/outage-tracker.ts';
import { UPSTREAM_METRICS } from '../../../dataplane/upstream/upstream-metrics.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import { createMetrics } from '../../../shared/platform/metrics.ts';
import type { Outage } from '../../../shared/wire/operation.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import { FakeRandom } from '../../fakes/fake-random.ts';

const SILENCE = { cause: 'refused', detail: 'ECONNREFUSED' } as const;

let revision = 3;
let stored: Outage | null;

let recorded: [string, Outage][];
let release: (() => void)[];
/** Kinds of entries that the journal cannot take. */
let full: Set<string>;
let tracker: OutageTracker;

const open = (): OutageTracker =>
  new OutageTracker({
    clock: new FakeClock(),
    random: new FakeRandom(1),
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics: createMetrics(UPSTREAM_METRICS),
    feed: {
      openOutage: () => stored,
      recordOutage: (kind, outage) => {
        if (full.has(kind)) return Promise.reject(new Error('the queue is full'));
        recorded.push([kind, outage]);
        return new Promise((resolve) => release.push(() => resolve(outage)));
      },
    },
    authority: () => ({ policyRevision: revision, stalenessMs: 40 }),
  });

beforeEach(() => {
  recorded = [];
  release = [];
  full = new Set();
  stored = null;
  revision = 3;
  tracker = open();
});

describe('the first call without an answer opens an outage', () => {
  test('calls that fail at the same time open one together, and all wait until it is open', async () => {
    const calls = [
      tracker.callFailed(SILENCE),
      tracker.callFailed({ ...SILENCE, cause: 'timeout' }),
    ];
    expect(recorded).toHaveLength(1);
    expect(tracker.current()).toBeNull();
    release[0]?.();
    await Promise.all(calls);
    expect(tracker.current()).toMatchObject({
      cause: 'refused',
      policyRevision: 3,
      stalenessMs: 40,
    });
    await tracker.callFailed(SILENCE);
    expect(recorded).toHaveLength(1);
  });

  test('only a successful sync closes it, once', async () => {
    const opened = tracker.callFailed(SILENCE);
    release[0]?.();
    await opened;
    const closed = tracker.syncSucceeded();
    release[1]?.();
    await closed;
    await tracker.syncSucceeded();
    expect(recorded.map(([kind]) => kind)).toEqual(['outage_opened', 'outage_closed']);
    expect(recorded[1]?.[1].outageId).toBe(recorded[0]?.[1].outageId);
    expect(tracker.current()).toBeNull();
  });
});

describe('I12: an end that the journal could not take', () => {
  const journaled = (): string[] => recorded.map(([kind]) => kind);
  const settle = async (call: Promise<void>): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) {
      for (const taken of release.splice(0)) taken();
      await Promise.resolve();
    }
    await call;
  };

  beforeEach(async () => {
    await settle(tracker.callFailed(SILENCE));
    full.add('outage_closed');
    await settle(tracker.syncSucceeded());
    expect(tracker.current()).toBeNull();
    expect(tracker.outageId()).toBe(recorded[0]?.[1].outageId);
  });

  test('is written with the next sync, once', async () => {
    full.clear();
    await settle(tracker.syncSucceeded());
    await settle(tracker.syncSucceeded());
    expect(journaled()).toEqual(['outage_opened', 'outage_closed']);
    expect(recorded[1]?.[1]).toMatchObject({ outageId: recorded[0]?.[1].outageId });
    expect(recorded[1]?.[1].toMs).not.toBeNull();
    expect(tracker.outageId()).toBeNull();
  });

  test('is written before another outage, which waits for it', async () => {
    await settle(tracker.callFailed(SILENCE));
    const { outageId } = tracker.current() as Outage;
    expect(tracker.outageId()).not.toBe(outageId);
    expect(journaled()).toEqual(['outage_opened']);
    full.clear();
    await settle(tracker.callFailed(SILENCE));
    expect(journaled()).toEqual(['outage_opened', 'outage_closed', 'outage_opened']);
    expect(tracker.outageId()).toBe(outageId);
    await settle(tracker.syncSucceeded());
    expect(journaled().slice(3)).toEqual(['outage_closed']);
    expect(recorded[3]?.[1].outageId).toBe(outageId);
    expect(tracker.outageId()).toBeNull();
  });

  test('is named again where the one after it was over before the journal could take either', async () => {
    full.add('outage_opened');
    await settle(tracker.callFailed(SILENCE));
    await settle(tracker.syncSucceeded());
    expect(tracker.outageId()).toBe(recorded[0]?.[1].outageId);
    full.clear();
    await settle(tracker.syncSucceeded());
    expect(journaled()).toEqual(['outage_opened', 'outage_closed']);
    expect(tracker.outageId()).toBeNull();
  });
});

describe('I3: what is journaled behind an entry that a slow disk has not taken yet', () => {
  test('names the outage that this entry opens, though nobody sees it open', async () => {
    expect(tracker.outageId()).toBeNull();
    const opened = tracker.callFailed(SILENCE);
    expect(recorded.map(([kind]) => kind)).toEqual(['outage_opened']);
    expect(tracker.current()).toBeNull();
    expect(tracker.outageId()).toBe(recorded[0]?.[1].outageId);
    release[0]?.();
    await opened;
    expect(tracker.outageId()).toBe(tracker.current()?.outageId);
  });

  test('does not name the outage that it closes; what fails then opens another', async () => {
    const opened = tracker.callFailed(SILENCE);
    release[0]?.();
    await opened;
    const closed = tracker.syncSucceeded();
    expect(tracker.current()).not.toBeNull();
    expect(tracker.outageId()).toBeNull();
    const again = tracker.callFailed(SILENCE);
    release[1]?.();
    await closed;
    for (let turns = 0; turns < 20 && recorded.length < 3; turns += 1) await Promise.resolve();
    expect(recorded.map(([kind]) => kind)).toEqual([
      'outage_opened',
      'outage_closed',
      'outage_opened',
    ]);
    expect(tracker.outageId()).toBe(recorded[2]?.[1].outageId);
    expect(tracker.outageId()).not.toBe(recorded[0]?.[1].outageId);
    release[2]?.();
    await again;
  });

  test('names the one that is resumed after a restart', async () => {
    const opened = tracker.callFailed(SILENCE);
    release[0]?.();
    await opened;
    stored = tracker.current();
    tracker = open();
    const resumed = tracker.open();
    expect(tracker.outageId()).toBe(stored?.outageId);
    release[1]?.();
    await resumed;
  });
});

describe('what changes while it lasts is a moment of it', () => {
  /** Whatever is to be journaled is, at once. */
  async function journaled(work: Promise<void>): Promise<void> {
    for (let turns = 0; turns < 20; turns += 1) {
      for (const go of release.splice(0)) go();
      await Promise.resolve();
    }
    await work;
  }
  const kinds = () => recorded.map(([kind]) => kind);
  const moments = () =>
    tracker
      .current()
      ?.moments?.map(({ kind, cause, policyRevision }) => [kind, cause, policyRevision]);

  test('how control is missed, and the revision in force, as syncs find them', async () => {
    for (const cause of ['refused', 'refused', 'timeout', 'half_open'] as const)
      await journaled(tracker.syncFailed({ cause, detail: cause }));
    revision = 4;
    await journaled(tracker.syncFailed({ cause: 'half_open', detail: 'again' }));
    expect(moments()).toEqual([
      ['opened', 'refused', 3],
      ['cause_changed', 'timeout', 3],
      ['cause_changed', 'half_open', 3],
      ['revision_changed', 'half_open', 4],
    ]);
    expect(kinds()).toEqual(['outage_opened', ...Array(3).fill('outage_changed')]);
    await journaled(tracker.syncSucceeded());
    expect(recorded.at(-1)?.[1].moments).toHaveLength(4);
  });

  test('a fresh decision with a time-out of its own changes nothing', async () => {
    await journaled(tracker.syncFailed(SILENCE));
    await journaled(tracker.callFailed({ cause: 'timeout', detail: 'no answer' }));
    expect(moments()).toHaveLength(1);
    expect(kinds()).toEqual(['outage_opened']);
  });

  test('a restart of the sidecar, journaled before anything is asked', async () => {
    await journaled(tracker.syncFailed(SILENCE));
    stored = tracker.current();
    tracker = open();
    await journaled(tracker.open());
    expect(moments()?.at(-1)).toEqual(['restarted', 'refused', 3]);
    expect(kinds()).toEqual(['outage_opened', 'outage_changed']);
  });

  test('they are bounded: those past the bound are counted, and write nothing', async () => {
    for (let turn = 0; turn < MOMENTS_MAX + 30; turn += 1)
      await journaled(
        tracker.syncFailed({ cause: turn % 2 === 0 ? 'refused' : 'timeout', detail: '' }),
      );
    expect(tracker.current()?.moments).toHaveLength(MOMENTS_MAX);
    expect(tracker.current()?.momentsOmitted).toBe(30);
    expect(recorded).toHaveLength(MOMENTS_MAX);
  });
});
