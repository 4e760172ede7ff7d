/** Who asks for the retention, how often, and what may be asked for. */
import { Value } from 'typebox/value';
import { describe, expect, test, vi } from 'vitest';
import { DAY_MS, MINUTE_MS } from '../../../shared/core/time.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import { createMetrics } from '../../../shared/platform/metrics.ts';
import { HoldfastError } from '../../../shared/wire/problem.ts';
import {
  SidecarConfigSchema,
  sidecarSettings,
  type SidecarConfig,
} from '../../../dataplane/config.ts';
import { SIDECAR_METRICS } from '../../../dataplane/metrics.ts';
import { Retention } from '../../../dataplane/operations/retention.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';

describe('the task', () => {
  test('a step a minute, sooner while there is more; over its size it says so once', async () => {
    const clock = new FakeClock();
    const logged: string[] = [];
    const logger = createLogger({ name: 'test', level: 'silent' });
    vi.spyOn(logger, 'warn').mockImplementation((_: unknown, text?: string) => {
      logged.push(text ?? '');
    });
    const answer = { type: 'pruned', operationIds: ['op_a', 'op_b'], prunedSeq: 9 } as const;
    const steps = [
      { ...answer, more: true, usedBytes: 300, isStuckOverSize: false },
      { ...answer, more: false, usedBytes: 200, isStuckOverSize: true },
      { ...answer, more: false, usedBytes: 200, isStuckOverSize: true },
    ];
    const asked: number[] = [];
    const metrics = createMetrics(SIDECAR_METRICS);
    const retention = new Retention({
      journal: {
        prune: async () => {
          asked.push(clock.now().bootMs);
          const step = steps[asked.length - 1];
          if (step === undefined) throw new HoldfastError('journal_busy', 'full');
          return step;
        },
        head: () => ({ seq: 12, hash: '' }),
        ackedSeq: () => 10,
      },
      limits: { retentionMs: DAY_MS, sizeBytesMax: 100 },
      clock,
      logger,
      metrics,
    });
    const stop = new AbortController();
    const startedMs = clock.now().bootMs;
    const running = retention.task().run(stop.signal);
    await clock.advance(3 * MINUTE_MS);
    stop.abort();
    await running;
    expect(asked.map((bootMs) => bootMs - startedMs)).toEqual([0, 25, 60_025, 120_025]);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain('over maxJournalSize');
    const { body } = await metrics.expose();
    for (const line of [
      'holdfast_journal_over_size 1',
      'holdfast_journal_size_bytes 200',
      'holdfast_journal_pruned_seq 9',
      'holdfast_operations_pruned_total 6',
    ])
      expect(body).toContain(line);
  });
});

describe('configuration that makes no sense is refused at start', () => {
  const config: SidecarConfig = { ...Value.Create(SidecarConfigSchema), appAuth: 'off' };

  test.each([
    [{ retention: '59m' }, 'too short'],
    [{ retention: '4000d' }, 'too long'],
    [{ maxJournalSize: '1MiB' }, 'too small'],
  ])('%o', (change, problem) => {
    expect(() => sidecarSettings({ ...config, ...change })).toThrow(problem);
  });

  test('a week and 4 GiB by default; no bound of size where that is asked for', () => {
    const week = { retentionMs: 7 * DAY_MS, sizeBytesMax: 4 * 2 ** 30 };
    expect(sidecarSettings(config).retention).toEqual(week);
    const unbounded = sidecarSettings({ ...config, maxJournalSize: 'off' });
    expect(unbounded.retention.sizeBytesMax).toBeNull();
  });
});
