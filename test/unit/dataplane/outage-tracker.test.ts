import { beforeEach, describe, expect, test } from 'vitest';
import { OutageTracker } from '../../../dataplane/recovery/outage-tracker.ts';
import { UPSTREAM_METRICS } from '../../../dataplane/upstream/upstream-metrics.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import { createMetrics } from '../../../shared/platform/metrics.ts';
import type { Outage } from '../../../shared/wire/operation.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import { FakeRandom } from '../../fakes/fake-random.ts';

const SILENCE = { cause: 'refused', detail: 'ECONNREFUSED' } as const;

let recorded: [string, Outage][];
let release: (() => void)[];
let tracker: OutageTracker;

beforeEach(() => {
  recorded = [];
  release = [];
  tracker = new OutageTracker({
    clock: new FakeClock(),
    random: new FakeRandom(1),
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics: createMetrics(UPSTREAM_METRICS),
    feed: {
      openOutage: () => null,
      recordOutage: (kind, outage) => {
        recorded.push([kind, outage]);
        return new Promise((resolve) => release.push(resolve));
      },
    },
    authority: () => ({ policyRevision: 3, stalenessMs: 40 }),
  });
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
