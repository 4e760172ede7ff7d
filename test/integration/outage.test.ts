/** One outage of control on real processes, and what each of the two planes says while it lasts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Supervisor } from '../../control/cli/dev/supervisor.ts';
import { startDevDaemons, type DevDaemons } from '../fakes/dev-daemons.ts';
import type { ControlClient, SidecarClient } from '../../shared/client/index.ts';

const NOTIFY = { principal: 'agent:notify', action: 'notifications.send' };
const REFUND = {
  principal: 'agent:billing',
  action: 'payments.refund',
  attributes: { amount: 20 },
};
const FRESH_TIMEOUT_MS = 1_000;

let daemons: DevDaemons;
let supervisor: Supervisor;
let sidecar: SidecarClient;
let control: ControlClient;

beforeAll(async () => {
  daemons = await startDevDaemons({
    HOLDFAST_SYNC_INTERVAL: '500ms',
    HOLDFAST_FRESH_TIMEOUT: `${FRESH_TIMEOUT_MS}ms`,
  });
  supervisor = daemons.supervisor;
  sidecar = supervisor.openSidecarClient();
  control = supervisor.openControlClient();
}, 60_000);

afterAll(async () => {
  await sidecar.close();
  await control.close();
  await daemons.close();
}, 60_000);

/** Polls what only the other process can know; the test's own time-out is the bound. */
async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await new Promise((resolve) => setTimeout(resolve, 20));
}

const probe = async (path: string): Promise<number> =>
  (await fetch(`${supervisor.url('sidecar')}${path}`)).status;

describe('an outage of control', () => {
  let before: string;

  test('with control in reach, both kinds of work are admitted on their own basis', async () => {
    const bounded = await sidecar.admit(NOTIFY, { idempotencyKey: 'n-1' });
    expect(bounded.operation).toMatchObject({ basis: 'cached', outageId: null, policyRevision: 1 });
    before = bounded.operation.operationId;
    const fresh = await sidecar.admit(REFUND, { idempotencyKey: 'r-1' });
    expect(fresh.operation).toMatchObject({ basis: 'fresh', outageId: null });
  });

  test('I4, I10: control killed: bounded work goes on, fresh work is refused with the reason', async () => {
    await supervisor.kill('control');
    const startedMs = performance.now();
    await expect(sidecar.admit(REFUND, { idempotencyKey: 'r-2' })).rejects.toMatchObject({
      code: 'control_unreachable',
      status: 503,
      retryable: true,
    });
    expect(performance.now() - startedMs).toBeLessThan(10 * FRESH_TIMEOUT_MS);
    const { operation } = await sidecar.admit(NOTIFY, { idempotencyKey: 'n-2' });
    expect(operation).toMatchObject({ state: 'accepted', basis: 'cached' });
    expect(operation.outageId).toMatch(/^out_/);
  });

  test('the two planes are told apart, and the sidecar stays ready', async () => {
    const health = await sidecar.health();
    expect(health.controlPlane).toMatchObject({
      verdict: 'impaired',
      parts: { sync: { state: 'degraded' } },
    });
    expect(health.dataPlane).toMatchObject({ verdict: 'ok' });
    expect(await probe('/readyz')).toBe(200);
    expect(await probe('/livez')).toBe(200);
  });

  test('I1, I2, I10: a sidecar killed and started without control serves from its disk', async () => {
    const outageId = (await sidecar.status()).control.outage?.outageId;
    await supervisor.kill('sidecar');
    await supervisor.start('sidecar');
    expect(await sidecar.operation(before)).toMatchObject({ state: 'accepted' });
    const again = await sidecar.admit(NOTIFY, { idempotencyKey: 'n-1' });
    expect([again.replayed, again.operation.operationId]).toEqual([true, before]);
    const fresh = await sidecar.admit(NOTIFY, { idempotencyKey: 'n-3' });
    expect(fresh.operation).toMatchObject({ basis: 'cached', outageId, policyRevision: 1 });
    await expect(sidecar.admit(REFUND, { idempotencyKey: 'r-3' })).rejects.toMatchObject({
      code: 'control_unreachable',
    });
  });

  test('work is executed to its end while control is away', async () => {
    const { attempt } = await sidecar.startAttempt(before);
    const step = { operationId: before, attempt, effect: 'send' };
    expect(await sidecar.beginEffect(step)).toMatchObject({ replayed: false });
    await sidecar.settleEffect(step, { outcome: 'succeeded', result: { id: 7 } });
    const done = await sidecar.reportOutcome(step, { outcome: 'succeeded' });
    expect(done).toMatchObject({ state: 'succeeded', outcome: { provenance: 'asserted' } });
  });

  test('I3, I12: control returns, receives everything in order, and agrees on every field', async () => {
    await supervisor.start('control');
    await until(async () => (await sidecar.status()).control.state === 'connected');
    await until(async () => {
      const { journal } = await sidecar.status();
      return journal.ackedSeq === journal.seq;
    });
    const { items: held } = await sidecar.operations({ limit: 100 });
    const { items: known } = await control.operations({ limit: 100 });
    expect(known.map(({ operationId }) => operationId).toSorted()).toEqual(
      held.map(({ operationId }) => operationId).toSorted(),
    );
    for (const operation of held) {
      const { state, basis, outageId, policyRevision, rule, effects, outcome } = operation;
      expect(known.find((other) => other.operationId === operation.operationId)).toMatchObject({
        state,
        basis,
        outageId,
        policyRevision,
        rule,
        effects,
        outcome,
      });
    }
    const refusals = await control.refusals({ limit: 100 });
    expect(refusals.items.map(({ reason }) => reason)).toEqual([
      'control_unreachable',
      'control_unreachable',
    ]);
    const outages = await control.outages({ limit: 10 });
    expect(outages.items).toMatchObject([
      { cause: expect.stringMatching(/^(refused|reset)$/), toMs: expect.any(Number) },
    ]);
  });

  test('I8: the recovery view tells one outage from its first sign to its end', async () => {
    expect(await sidecar.recovery()).toMatchObject({
      verdict: 'settling',
      tally: {
        acceptedBefore: 2,
        admittedDuring: 2,
        executedDuring: 1,
        refusedDuring: 2,
        refusedByReason: { control_unreachable: 2 },
        needsReconciliation: 0,
        unreported: 0,
      },
    });
  });
});
