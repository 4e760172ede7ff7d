/** What a host says of its work, from a real journal. */
import { expect, test } from 'vitest';
import { tallyWork } from '../../dataplane/work-health.ts';
import { APP_TOKEN, openTestSidecar } from '../fakes/sidecar-app.ts';

test('counts by state, the age of the oldest, and what is past its deadline and not ended', async () => {
  const sidecar = await openTestSidecar();
  /** As it will be then, with nobody seeing to deadlines: no custodian runs here. */
  const tallyIn = (laterMs: number) => {
    const { wallMs, bootMs, bootId } = sidecar.clock.now();
    const now = { wallMs: wallMs + laterMs, bootMs: bootMs + laterMs, bootId };
    return tallyWork(sidecar.journal, now);
  };
  try {
    const none = { count: 0, oldestMs: null };
    const quiet = {
      executing: none,
      paused: none,
      stuck: none,
      unknown: none,
      reconciling: none,
    };
    expect(tallyIn(0)).toEqual(quiet);
    const headers = { authorization: `Bearer ${APP_TOKEN}`, 'holdfast-request': '1' };
    for (const deadlineMs of [20_000, 50_000]) {
      const admitted = await sidecar.app.inject({
        method: 'POST',
        url: '/v1/operations',
        headers: { ...headers, 'idempotency-key': `k-${deadlineMs}` },
        payload: { principal: 'agent:billing', action: 'notifications.send', deadlineMs },
      });
      const { operationId } = admitted.json<{ operationId: string }>();
      const url = `/v1/operations/${operationId}/attempts`;
      await sidecar.app.inject({ method: 'POST', url, headers, payload: {} });
    }
    const first = tallyIn(0);
    expect(first).toEqual({ ...quiet, executing: { count: 2, oldestMs: expect.any(Number) } });
    // The first is 30 s past its deadline then, the second is not past its own.
    const oldestMs = (first.executing.oldestMs ?? 0) + 49_000;
    const then = tallyIn(49_000);
    expect(then.executing.oldestMs).toBeGreaterThanOrEqual(oldestMs);
    expect(then.stuck).toEqual({ count: 1, oldestMs: then.executing.oldestMs });
    expect(tallyIn(61_000).stuck.count).toBe(2);
  } finally {
    await sidecar.close();
  }
});
