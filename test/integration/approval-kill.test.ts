/**
 * Approvals with real processes, and `kill -9` of either daemon between any two steps: what was asked
 * for is asked, what was decided is done, once, and both sides say the same (I1, I2, I8).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UnreachableError, openControl, type ControlClient } from '../../shared/client/index.ts';
import type { ApprovalRequest } from '../../shared/wire/approval.ts';
import { ControlProcess, adminTokenIn } from '../fakes/control-process.ts';
import { SupervisedSidecar } from '../fakes/supervised-sidecar.ts';

const POLL_MS = 30;
const PATIENCE_MS = 60_000;
const WIPE = { principal: 'agent:worker', action: 'tables.wipe', resource: { id: 'table-7' } };
const POLICY = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:worker': { roles: ['worker'] }, 'user:admin': { roles: ['security'] } },
  rules: [
    {
      name: 'wipe',
      actions: ['tables.wipe'],
      permit: [{ expression: 'true' }],
      deadline: '1h',
      approval: { required: 1, from: 'role:security', ttl: '30m', showPayload: true },
    },
  ],
};

let directory: string;
let daemon: ControlProcess;
let control: ControlClient;
let controlUrl: string;
let sidecar: SupervisedSidecar;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'approval-kill-'));
  daemon = startControl('127.0.0.1:0');
  controlUrl = await daemon.listening;
  const token = adminTokenIn(join(directory, 'control'));
  control = openControl({ endpoint: controlUrl, token });
  await control.publishPolicy(JSON.stringify(POLICY), { format: 'json', replaces: null });
  const settings = { HOLDFAST_SYNC_INTERVAL: '200ms' };
  sidecar = await SupervisedSidecar.enrol(control, {
    directory,
    name: 'host-1',
    controlUrl,
    settings,
  });
});
afterAll(async () => {
  await sidecar.stop();
  await control.close();
  await daemon.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

const startControl = (listen: string): ControlProcess =>
  new ControlProcess(['--data-dir', join(directory, 'control'), '--listen', listen]);

/** Both are started again, as an init system does. */
async function killBoth(): Promise<void> {
  sidecar.kill();
  await daemon.kill('SIGKILL');
  daemon = startControl(new URL(controlUrl).host);
  await daemon.listening;
}

/** Until it is so, whoever is down just now. */
async function until<T>(ask: () => Promise<T | null>, what: string): Promise<T> {
  const endMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await ask().catch((error: unknown) => {
      if (error instanceof UnreachableError) return null;
      throw error;
    });
    if (found !== null) return found;
    if (performance.now() > endMs) throw new Error(`it never came to be: ${what}`);
    await delay(POLL_MS);
  }
}

const waiting = (key: string) =>
  until(async () => {
    const { operation } = await sidecar.client
      .admit(WIPE, { idempotencyKey: key })
      .catch((error: unknown) => {
        // The policy has not come yet.
        if ((error as { code?: string }).code === 'policy_absent')
          throw new UnreachableError('refused', 'not yet');
        throw error;
      });
    return operation;
  }, `${key} is recorded`);

const requestOf = (operationId: string, isSo: (request: ApprovalRequest) => boolean) =>
  until(async () => {
    const { items } = await control.approvals.list();
    return items.find((each) => each.operationId === operationId && isSo(each)) ?? null;
  }, `the request of ${operationId} is as wanted`);

const operation = (id: string, state: string) =>
  until(async () => {
    const found = await sidecar.client.operation(id);
    return found.state === state ? found : null;
  }, `${id} is ${state}`);

test('I1, I2, I8: killed between any two steps, an approval and a denial end alike on both sides', async () => {
  const [wanted, unwanted] = [await waiting('wanted'), await waiting('unwanted')];
  await killBoth();
  expect((await waiting('wanted')).operationId).toBe(wanted.operationId);
  const asked = await requestOf(wanted.operationId, ({ state }) => state === 'pending');
  const other = await requestOf(unwanted.operationId, ({ state }) => state === 'pending');
  const digest = wanted.fingerprint;
  expect(asked.payloadDigest).toBe(digest);

  await control.approvals.decide(asked.requestId, 'approve', { reason: 'ticket 1', digest });
  await control.approvals.decide(other.requestId, 'deny', { reason: 'not this one', digest });
  await killBoth();
  const accepted = await operation(wanted.operationId, 'accepted');
  expect(accepted.approval).toMatchObject({
    state: 'approved',
    votes: [{ by: 'operator:admin', reason: 'ticket 1' }],
  });
  await killBoth();
  const isConfirmed = ({ delivery }: ApprovalRequest): boolean => delivery === 'confirmed';
  expect(await requestOf(wanted.operationId, isConfirmed)).toMatchObject({ state: 'approved' });
  expect(await requestOf(unwanted.operationId, isConfirmed)).toMatchObject({ state: 'denied' });
  expect(await operation(unwanted.operationId, 'cancelled')).toMatchObject({
    reason: 'approval_denied',
  });
  const { events } = await until(
    () => sidecar.client.explain(wanted.operationId),
    'it is explained',
  );
  expect(events.map(({ kind }) => kind)).toEqual(['admitted', 'approved']);
  expect(await sidecar.client.startAttempt(wanted.operationId)).toMatchObject({ attempt: 1 });
}, 120_000);
