/**
 * Restarts of the sidecar, of control, and of both, in every order, while they cannot reach each
 * other: afterwards the recovery view of the sidecar and what control was told agree, entry by entry
 * (I1, I8, I12). One host lives through all of it, an outage for each order.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recoveryProblems } from '../../deploy/examples/orders/recovery-check.ts';
import { readKnown, readTold } from '../../deploy/examples/orders/recovery-reading.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { WholeHost } from '../fakes/whole-host.ts';

const rule = (name: string, more = {}) => ({
  name,
  actions: [`work.${name}`],
  permit: [{ expression: 'true' }],
  ...more,
});
const POLICY = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:worker': { roles: ['agent'] } },
  rules: [
    rule('finish'),
    rule('pause', { onControlLoss: 'pause' }),
    rule('fresh', { freshness: 'fresh' }),
  ],
};

let control: ControlWorld;
let host: WholeHost;

beforeAll(async () => {
  control = await ControlWorld.create();
  expect((await control.publish(POLICY)).status).toBe(201);
  host = await WholeHost.start(control);
  await host.until(async () => (await host.client.status()).policy.stalenessMs !== null);
}, 60_000);

afterAll(async () => {
  await host.dispose();
  await control.dispose();
});

type Step = 'sidecar' | 'control' | 'both, sidecar first' | 'both, control first';
const STEPS: Readonly<Record<Step, () => Promise<void>>> = {
  sidecar: async () => {
    await host.stop();
    await host.start();
  },
  control: () => control.restart(),
  'both, sidecar first': async () => {
    await Promise.all([host.stop(), control.stop()]);
    await host.start();
    await control.start();
  },
  'both, control first': async () => {
    await Promise.all([host.stop(), control.stop()]);
    await control.start();
    await host.start();
  },
};

let admitted = 0;
async function admit(kind: 'finish' | 'pause' | 'fresh'): Promise<string> {
  const request = { principal: 'agent:worker', action: `work.${kind}` };
  const { operation } = await host.client.admit(request, { idempotencyKey: `k${(admitted += 1)}` });
  return operation.operationId;
}

const start = (operationId: string) => host.client.startAttempt(operationId);
async function end(operationId: string, outcome: 'succeeded' | 'unknown' = 'succeeded') {
  await host.client.reportOutcome({ operationId, attempt: 1 }, { outcome });
}

const outageNow = async () => (await host.client.status()).control.outage;
const stateOf = async (id: string) => (await host.client.operation(id)).state;
async function isReported(): Promise<boolean> {
  const { control: link, journal } = await host.client.status();
  return link.outage === null && journal.ackedSeq === journal.seq;
}

const ORDERS: readonly (readonly Step[])[] = [
  ['sidecar'],
  ['control'],
  ['sidecar', 'control'],
  ['control', 'sidecar'],
  ['both, sidecar first'],
  ['both, control first'],
];

test.each(ORDERS.map((steps) => [steps.join('; then '), steps] as const))(
  'I1, I8, I12: %s',
  async (_, steps) => {
    const ended = await admit('finish');
    await start(ended);
    await end(ended);
    const running = await admit('finish');
    await start(running);
    const waiting = await admit('pause');

    host.cut = 'refused';
    await host.until(async () => (await outageNow()) !== null);
    const outageId = (await outageNow())?.outageId ?? '';
    await host.until(async () => (await stateOf(waiting)) === 'paused');
    await expect(admit('fresh')).rejects.toMatchObject({ code: 'control_unreachable' });
    for (const step of steps) {
      const during = await admit('finish');
      await STEPS[step]();
      await start(during);
      await end(during);
    }
    host.cut = 'timeout';
    await host.until(
      async () =>
        (await host.client.outage(outageId)).moments?.some(({ cause }) => cause === 'timeout') ===
        true,
    );
    const lost = await admit('finish');
    await start(lost);
    await end(lost, 'unknown');
    await end(running);

    host.cut = null;
    await host.until(async () => (await stateOf(waiting)) === 'accepted');
    await host.until(isReported);
    const knowing = host.openControl();
    const check = async () => {
      const told = await readTold(host.client, outageId);
      const known = await readKnown(knowing, { afterSeq: 0, ledger: null });
      expect(recoveryProblems(told, known)).toEqual([]);
      return told;
    };
    const told = await check();
    const idsOf = (items: readonly { operationId: string }[]) =>
      items.map(({ operationId }) => operationId);
    expect(idsOf(told.acceptedBefore)).toEqual([running, waiting]);
    expect(idsOf(told.stopped)).toEqual([waiting]);
    expect(idsOf(told.needsReconciliation)).toEqual([lost]);
    expect(told.continued).toHaveLength(1 + steps.length + 1);
    expect(told.outage.tally).toMatchObject({ unknown: 1, refused: 1, executed: 1 + steps.length });
    const restarts = steps.filter((step) => step !== 'control').length;
    expect(told.outage.moments?.map(({ kind }) => kind)).toEqual([
      'opened',
      ...Array<string>(restarts).fill('restarted'),
      'cause_changed',
    ]);

    await host.client.resolve(lost, { outcome: 'failed', provenance: 'verified', reason: 'asked' });
    await start(waiting);
    await end(waiting);
    await host.until(isReported);
    await check();
    expect(await host.client.recovery()).toMatchObject({
      verdict: 'settled',
      outage: { outageId },
    });
    await knowing.close();
  },
  60_000,
);
