/**
 * Webhooks of approvals to a real HTTP server, over a real journal: signed, in order, at least once,
 * parked where nobody takes them, and remembered over a restart.
 */
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DELIVERY_TRIES_MAX } from '../../dataplane/core/webhook-queue.ts';
import { Webhooks } from '../../dataplane/operations/webhooks.ts';
import { UndiciTransport } from '../../shared/client/transport.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import { runTasks } from '../../shared/platform/task-group.ts';
import type { Operation } from '../../shared/wire/operation.ts';
import type { WebhookMessage } from '../../shared/wire/webhook-api.ts';
import { activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import { openStandIn, type StandIn } from '../fakes/http-stand-in.ts';
import { settleUntil } from '../fakes/pending-crypto.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { callerOf } from '../fakes/sidecar-caller.ts';
import { wordOf } from '../fakes/stored-approval.ts';

const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes ....').toString('base64')}`;

let directory: string;
let clock: FakeClock;
let sidecar: TestSidecar;
let target: StandIn;
let status: number;
let webhooks: Webhooks;
let stop: AbortController;
let running: Promise<void>;
const counted = new Map<string, number>();

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'webhooks-'));
  clock = new FakeClock({ bootMs: 10 ** 12 });
  status = 204;
  target = await openStandIn(() => ({ status, headers: { location: 'http://127.0.0.1:1/' } }));
  sidecar = await openTestSidecar({ clock, directory: join(directory, 'journal') });
  sidecar.authority.active = activePolicy({
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [
      {
        name: 'wipe',
        actions: ['work.wipe'],
        permit: [{ expression: 'true' }],
        approval: { required: 1, from: 'role:security', ttl: '5m' },
      },
    ],
  });
  counted.clear();
  begin();
});
afterEach(async () => {
  await end();
  await sidecar.close();
  await target.close();
  rmSync(directory, { recursive: true });
});
const { admit } = callerOf(() => sidecar);

function begin(app?: string): void {
  const only = app === undefined ? {} : { app };
  webhooks = new Webhooks(
    {
      directory,
      journal: sidecar.journal,
      clock,
      random: new FakeRandom(7),
      logger: createLogger({ name: 'test', level: 'silent' }),
      metrics: {
        delivery: (_name, outcome) => counted.set(outcome, (counted.get(outcome) ?? 0) + 1),
        parked: (_name, count) => counted.set('held', count),
      },
      openTransport: (url) => new UndiciTransport({ url }),
    },
    [{ name: 'desk', url: `${target.url}/hook?from=holdfast`, secret: SECRET, ...only }],
  );
  stop = new AbortController();
  running = runTasks(webhooks.tasks(), stop.signal);
}

async function end(): Promise<void> {
  stop.abort();
  await running;
  await webhooks.close();
}

/** Time passes until it is so. */
async function until(isSo: () => boolean): Promise<void> {
  for (let rounds = 0; rounds < 2_000 && !isSo(); rounds += 1) {
    await clock.advance(1_000);
    await settleUntil(isSo, 3);
  }
  expect(isSo()).toBe(true);
}

let keys = 0;
async function decided(outcome: 'approved' | 'denied'): Promise<Operation> {
  keys += 1;
  const operation = (
    await admit({ principal: 'agent:billing', action: 'work.wipe' }, `w-${keys}`)
  ).json<Operation>();
  const { operationId, fingerprint, approval } = operation;
  const requestId = approval?.requestId ?? '';
  const over = { operationId, payloadDigest: fingerprint, requestId, rule: 'wipe' };
  await sidecar.approvals.receive(wordOf(outcome, over), 'signed');
  return operation;
}

const messages = () => target.asked.map(({ body }) => JSON.parse(body) as WebhookMessage);

test('what became of an approval is told, signed as Standard Webhooks has it', async () => {
  const [yes, no] = [await decided('approved'), await decided('denied')];
  await until(() => target.asked.length === 2);
  expect(messages()).toMatchObject([
    {
      type: 'approval.approved',
      data: { operationId: yes.operationId, app: 'demo', state: 'accepted' },
    },
    {
      type: 'approval.denied',
      data: { operationId: no.operationId, reason: 'approval_denied', state: 'cancelled' },
    },
  ]);
  const [first] = target.asked;
  if (first === undefined) throw new Error('nothing came');
  const { path, headers, body } = first;
  expect(path).toBe('/hook?from=holdfast');
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
  const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64');
  expect(headers['webhook-signature']).toBe(
    `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
  );
  // Shown without its query, which may hold a secret.
  expect(webhooks.list()).toMatchObject([{ name: 'desk', url: `${target.url}/hook`, parked: [] }]);
});

test('a target that is down: tried again under one id, parked, shown, remembered, and tried once more', async () => {
  status = 302;
  await decided('approved');
  await until(() => counted.get('parked') === 1);
  expect(target.asked).toHaveLength(DELIVERY_TRIES_MAX);
  expect(new Set(target.asked.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  expect(webhooks.list()).toMatchObject([
    { parked: [{ type: 'approval.approved', error: 'it answered 302' }], failures: 0 },
  ]);
  await end();
  begin();
  expect(webhooks.list()[0]?.parked).toHaveLength(1);
  expect(counted.get('held')).toBe(1);
  status = 200;
  await decided('denied');
  webhooks.retry('desk');
  await until(() => target.asked.length === DELIVERY_TRIES_MAX + 2);
  expect(
    messages()
      .slice(-2)
      .map(({ type }) => type)
      .toSorted((a, b) => a.localeCompare(b)),
  ).toEqual(['approval.approved', 'approval.denied']);
  expect(webhooks.list()).toMatchObject([{ parked: [], lastError: null }]);
  expect(() => webhooks.retry('other')).toThrow('there is no webhook other (there are: desk)');
});

test('I1: what was decided while nobody sent anything is told after the restart, and nothing twice', async () => {
  await decided('approved');
  await until(() => target.asked.length === 1);
  await end();
  await decided('denied');
  begin();
  await until(() => target.asked.length === 2);
  expect(messages().map(({ type }) => type)).toEqual(['approval.approved', 'approval.denied']);
  await end();
  begin('another-app');
  await decided('approved');
  await until(() => (webhooks.list()[0]?.sentUpToSeq ?? 0) >= sidecar.journal.head().seq);
  expect(target.asked).toHaveLength(2);
});
