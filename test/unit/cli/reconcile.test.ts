/** `holdfast reconcile`, against a real server that answers as a sidecar or control does. */
import { afterEach, expect, test } from 'vitest';
import { runCommand } from '../../../control/cli/program.ts';
import type { WorkItem } from '../../../shared/wire/reconciliation-api.ts';
import { openStandIn, problem, type Answer, type StandIn } from '../../fakes/http-stand-in.ts';

let standIn: StandIn | undefined;
afterEach(() => standIn?.close());

async function run(answers: Readonly<Record<string, Answer>>, ...argv: string[]) {
  await standIn?.close();
  standIn = await openStandIn(
    ({ method, path }) => answers[`${method} ${path.split('?')[0]}`] ?? problem('not_found'),
  );
  const written = { out: '', err: '' };
  const exitCode = await runCommand({
    argv,
    env: { HOLDFAST_SIDECAR_URL: standIn.url, HOLDFAST_CONTROL_URL: standIn.url, USER: 'ann' },
    cwd: '/',
    stdout: { write: (text) => (written.out += text) },
    stderr: { write: (text) => (written.err += text) },
  });
  return { exitCode, ...written };
}

const ITEM: WorkItem = {
  operationId: 'op_1',
  app: 'demo',
  action: 'payments.capture',
  principal: 'agent:billing',
  resourceId: 'order-7',
  rule: 'capture',
  state: 'unknown',
  reason: 'worker_lost_in_effect_charge',
  attempt: 1,
  admittedAtMs: 1,
  deadlineAtMs: 2,
  unreported: [],
  triesMax: 5,
  strategy: 'probe',
  sinceMs: 1,
  tries: 2,
  lastTry: {
    number: 2,
    strategy: 'probe',
    by: null,
    begunAtMs: 1,
    endedAtMs: 2,
    verdict: 'unknown',
    detail: 'it answered with status 500',
  },
  nextTryAtMs: 1,
  leftToPerson: null,
  claim: { holder: 'ben', app: 'ops', atMs: 1, endsAtMs: 5_000_000_000_000 },
  compensatedBy: null,
  outcome: null,
};
const SETTLED = { ...ITEM, state: 'failed' };

test('list and show say what is tried, how often, when next, and who works on it', async () => {
  const list = {
    'GET /v1/reconciliations': { status: 200, body: { items: [ITEM], nextCursor: null } },
  };
  const { exitCode, out } = await run(list, 'reconcile', 'list', '--strategy', 'probe');
  expect([exitCode, standIn?.asked[0]?.path]).toEqual([
    0,
    '/v1/reconciliations?limit=100&strategy=probe',
  ]);
  for (const word of ['op_1', 'probe', '2/5', 'now', 'ben']) expect(out).toContain(word);
  const one = { 'GET /v1/reconciliations/op_1': { status: 200, body: ITEM } };
  const shown = await run(one, 'reconcile', 'show', 'op_1');
  expect(shown.out).toContain('it answered with status 500');
  expect(shown.out).toContain('by ben (app ops) until');
  const json = await run(one, '-o', 'json', 'reconcile', 'show', 'op_1');
  expect(JSON.parse(json.out)).toEqual(ITEM);
});

test('of all hosts it asks control', async () => {
  const reported = {
    operationId: 'op_9',
    hostId: 'host_1',
    action: 'a',
    resourceId: '',
    reason: 'x',
    reconciliation: { ...ITEM, leftToPerson: 'attempts_used', strategy: 'human' },
  };
  const answers = {
    'GET /v1/operations': { status: 200, body: { items: [reported], nextCursor: null } },
  };
  const { out } = await run(answers, 'reconcile', 'list', '--from', 'control');
  expect(standIn?.asked[0]?.path).toBe('/v1/operations?limit=100&state=unknown');
  for (const word of ['op_9', 'host_1', 'human', 'attempts_used']) expect(out).toContain(word);
  const others = await run(
    answers,
    'reconcile',
    'list',
    '--from',
    'control',
    '--strategy',
    'probe',
  );
  expect(others.err).toContain('no unknown operations');
});

test('a claim is for a time and by a name; one that another holds is 5, with the way out', async () => {
  const path = 'POST /v1/reconciliations/op_1/claim';
  const claimed = await run(
    { [path]: { status: 200, body: ITEM } },
    'reconcile',
    'claim',
    'op_1',
    '--for',
    '10m',
  );
  expect([claimed.exitCode, JSON.parse(standIn?.asked[0]?.body ?? '')]).toEqual([
    0,
    { by: 'ann', ttlMs: 600_000 },
  ]);
  const refused = await run(
    { [path]: problem('reconciliation_claimed') },
    'reconcile',
    'claim',
    'op_1',
  );
  expect(refused.exitCode).toBe(5);
  expect(refused.err).toContain('holdfast reconcile show ID');
});

test('I2: the same resolution twice has the same key, another has another', async () => {
  const answers = { 'POST /v1/reconciliations/op_1/resolve': { status: 200, body: SETTLED } };
  const keyOf = async (...more: string[]) => {
    const argv = ['reconcile', 'resolve', 'op_1', '--outcome', 'failed', '--reason', 'looked'];
    const { exitCode, out } = await run(answers, ...argv, ...more);
    expect([exitCode, out]).toEqual([0, 'operation op_1 is failed (asserted, by ann)\n']);
    return standIn?.asked[0]?.headers['idempotency-key'];
  };
  const key = await keyOf();
  expect(key).toMatch(/^[0-9a-f]{64}$/);
  expect(await keyOf()).toBe(key);
  expect(await keyOf('--evidence', 'ticket 12')).not.toBe(key);
  expect(JSON.parse(standIn?.asked[0]?.body ?? '')).toEqual({
    outcome: 'failed',
    reason: 'looked',
    provenance: 'asserted',
    by: 'ann',
    evidence: 'ticket 12',
  });
});

test('a probe says what came of it, and where nothing did, why', async () => {
  const path = 'POST /v1/reconciliations/op_1/probe';
  const unknown = await run({ [path]: { status: 200, body: ITEM } }, 'reconcile', 'probe', 'op_1');
  expect(unknown.out).toContain('still unknown: it answered with status 500');
  const refused = await run({ [path]: problem('probe_not_allowed') }, 'reconcile', 'probe', 'op_1');
  expect([refused.exitCode, refused.err.includes('--probe-targets')]).toEqual([4, true]);
});

test.each([
  [['resolve', 'op_1', '--outcome', 'failed'], '--reason'],
  [['resolve', 'op_1', '--reason', 'x'], '--outcome'],
  [['claim', 'op_1', '--for', 'soon'], '--for soon is not a duration'],
  [['list', '--strategy', 'guess'], 'Allowed choices are human'],
])('%j is 2, and names the way out', async (argv, text) => {
  const { exitCode, out, err } = await run({}, 'reconcile', ...argv);
  expect([exitCode, out]).toEqual([2, '']);
  expect(err).toContain(text);
  expect((await run({}, 'reconcile', '--help')).out).toContain('holdfast reconcile probe ID');
});
