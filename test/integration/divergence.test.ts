/**
 * An outage during which policy tightens and loosens, a credential and a principal are revoked, both
 * daemons start again, and the wall clock of the host is wrong: the real control and the real sidecar,
 * in this process, each over a clock of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { claimPort } from '../../control/cli/dev/free-port.ts';
import { SidecarConfigSchema } from '../../dataplane/config.ts';
import { startSidecar, type Sidecar } from '../../dataplane/daemon.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { HttpProbeCaller } from '../../shared/platform/http-probe.ts';
import { readDiskSpace } from '../../dataplane/journal/disk-space.ts';
import { UndiciTransport } from '../../shared/client/transport.ts';
import { HOUR_MS, MINUTE_MS } from '../../shared/core/time.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import { loadConfiguration } from '../../shared/platform/configuration.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import type { Divergence, DivergenceDetail, Divergences } from '../../shared/wire/divergences.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import type { SidecarStatus } from '../../shared/wire/sidecar-api.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { overhearControl, type OverheardControl } from '../fakes/overheard-control.ts';

const PATIENCE_MS = 20_000;
const BILLING = 'agent:billing';
const OTHER = 'agent:other';

const policyOf = (limit: number): PolicyDocument => ({
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { [BILLING]: { roles: ['agent'] }, [OTHER]: { roles: ['agent'] } },
  rules: [
    {
      name: 'capture-payment',
      actions: ['payments.capture'],
      permit: [{ expression: `attributes.amount <= ${limit}`, message: `at most ${limit}` }],
      maxStaleness: '5h',
      deadline: '4h',
      maxDeadline: '8h',
    },
  ],
});

let world: ControlWorld;
let network: OverheardControl;
let directory: string;
let sidecar: Sidecar;
let joinToken: string;
/** Far beyond the real one, by which the journal's own thread judges ends of authority. */
let hostClock: FakeClock;

async function start(): Promise<void> {
  const loaded = loadConfiguration(SidecarConfigSchema, {
    program: 'holdfast-sidecar',
    argv: [
      `--data-dir=${directory}`,
      '--listen=127.0.0.1:0',
      `--control-url=${network.url}`,
      '--app-auth=off',
      '--log-level=silent',
      '--ballast=1MiB',
    ],
    env: {},
  });
  if (loaded.kind !== 'run') throw new Error('it was asked for its help');
  sidecar = await startSidecar({
    config: loaded.config,
    hostName: 'host-1',
    joinToken,
    clock: hostClock,
    random: new SystemRandom(),
    logger: createLogger({ name: 'test', level: 'silent' }),
    transport: new UndiciTransport({ url: network.url }),
    compile: compileCel,
    readDiskSpace,
    openJournal,
    probe: new HttpProbeCaller(),
    openTransport: (url) => new UndiciTransport({ url }),
  });
  sidecar.done.catch(() => {});
}

beforeEach(async () => {
  hostClock = new FakeClock({ bootMs: 10 ** 12 });
  const port = await claimPort(0, { flag: 'the test' });
  world = await ControlWorld.create({ listen: `127.0.0.1:${port}` });
  await world.publish(policyOf(500));
  joinToken = await world.joinToken('host-1');
  network = await overhearControl(world.address);
  directory = mkdtempSync(join(tmpdir(), 'holdfast-divergence-'));
  await start();
});
afterEach(async () => {
  await sidecar.stop();
  await network.close();
  await world.dispose();
  rmSync(directory, { recursive: true });
});

/** Both clocks go on, and nobody does anything meanwhile. */
function pass(ms: number): void {
  world.clock.jump(ms);
  hostClock.jump(ms);
}

/** Time goes on in steps, and real requests get their turn, until it is so. */
async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`it never came to be: ${what}`);
    await Promise.all([world.clock.advance(250), hostClock.advance(250)]);
    await delay(2);
  }
}

type Asked = { readonly status: number; readonly id: string };
let keys = 0;

async function admit(amount: number, principal = BILLING): Promise<Asked> {
  keys += 1;
  const response = await fetch(`${sidecar.address ?? ''}/v1/operations`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'holdfast-request': '1',
      'idempotency-key': `key-${keys}`,
    },
    body: JSON.stringify({ principal, action: 'payments.capture', attributes: { amount } }),
  });
  const body = (await response.json()) as { operationId?: string; refusalId?: string };
  return { status: response.status, id: body.operationId ?? body.refusalId ?? '' };
}

const list = async (query = '') =>
  (await world.get(`/v1/divergences${query}`)).json as unknown as Divergences;
const idOf = ({ operationId, refusalId }: Divergence) => operationId ?? refusalId;
const say = (id: string, verdict: string) =>
  world.call('POST', `/v1/divergences/${id}:resolve`, {
    body: { verdict, reason: 'looked at it' },
  });
async function outage(): Promise<string | undefined> {
  const headers = { 'holdfast-request': '1' };
  const response = await fetch(`${sidecar.address ?? ''}/v1/status`, { headers });
  const { control } = (await response.json()) as SidecarStatus;
  return control.outage?.outageId;
}
const known = async (operationId: string): Promise<string> =>
  String((await world.get(`/v1/operations/${operationId}`)).json['state']);

type Parts = Readonly<Record<'tooMuch' | 'small' | 'byOther' | 'refused', Asked>> & {
  readonly outageId: string | undefined;
};

/** Both explanations, and what a person says. */
async function settle(items: readonly Divergence[], parts: Parts): Promise<void> {
  const { tooMuch, small, byOther, refused, outageId } = parts;
  const of = (id: string) => items.find((one) => idOf(one) === id)?.divergenceId ?? '';
  const shown = (await world.get(`/v1/divergences/${of(tooMuch.id)}`))
    .json as unknown as DivergenceDetail;
  expect(shown).toMatchObject({
    decided: { policyRevision: 1, rule: 'capture-payment', decision: 'permit' },
    current: {
      policyRevision: 2,
      rule: 'capture-payment',
      decision: 'deny',
      message: 'at most 100',
    },
    operationState: 'accepted',
    decidedTrace: { rules: [{ permit: [{ outcome: 'true' }] }] },
    currentTrace: { rules: [{ permit: [{ outcome: 'false' }] }] },
  });
  expect((await say(of(byOther.id), 'accepted')).json).toMatchObject({
    state: 'accepted',
    resolution: { by: 'operator:admin', provenance: 'asserted', stop: null },
  });
  expect((await say(of(byOther.id), 'accepted')).status).toBe(200);
  expect((await say(of(byOther.id), 'revoked')).json['code']).toBe('divergence_settled');
  expect((await say(of(refused.id), 'revoked')).json['code']).toBe('invalid_request');
  expect((await list('?state=open')).items).toHaveLength(3);
  expect((await list(`?outage=${outageId}&state=accepted`)).items.map(idOf)).toEqual([byOther.id]);

  // Revoked: its host stops it, and says so.
  expect((await say(of(tooMuch.id), 'revoked')).json).toMatchObject({
    resolution: { stop: { state: 'pending', onRevoke: 'abort' } },
  });
  await until(async () => (await known(tooMuch.id)) === 'cancelled', 'it is stopped');
  const stop = async () =>
    ((await world.get(`/v1/divergences/${of(tooMuch.id)}`)).json as unknown as DivergenceDetail)
      .resolution?.stop?.state;
  await until(async () => (await stop()) === 'done', 'control knows that it is stopped');
  expect(await known(small.id)).toBe('accepted');
  const trail = (await world.get('/v1/audit?limit=500')).text;
  for (const action of ['divergence.accepted', 'divergence.revoked', 'notice.lifted'])
    expect(trail).toContain(`"${action}"`);
  expect(await world.metric('holdfast_control_divergences_total{kind="permit_to_deny"}')).toBe(3);
}

test('I3, I5, I12: the list has exactly the decisions that what was in force then would have made otherwise', async () => {
  await until(async () => (await admit(1)).status === 201, 'work is admitted');
  const before = await admit(400);
  await until(async () => (await known(before.id)) === 'accepted', 'control has its report');

  network.isCut = true;
  await until(async () => (await outage()) !== undefined, 'the host has noticed');
  const outageId = await outage();
  pass(2 * MINUTE_MS);
  const cached = await admit(400);
  // What the host says the time is counts for nothing.
  hostClock.stepWall(-3 * HOUR_MS);
  pass(10 * MINUTE_MS);
  await world.publish(policyOf(100));
  pass(2 * MINUTE_MS);
  const [tooMuch, small] = [await admit(400), await admit(50)];

  await sidecar.stop();
  pass(MINUTE_MS);
  await start();
  await world.restart();
  const notice = { kind: 'revoke_credential', subject: 'app:anonymous', reason: 'leaked' } as const;
  const always = { fromMs: null, untilMs: null };
  await world.control.notices.record({ noticeId: 'n-1', ...notice, ...always }, 'operator:admin');
  pass(2 * MINUTE_MS);
  const byCredential = await admit(50);
  pass(MINUTE_MS);
  await world.control.notices.lift('n-1', 'operator:admin');
  pass(2 * MINUTE_MS);
  const principal = { kind: 'revoke_principal', subject: OTHER, reason: 'left' } as const;
  await world.control.notices.record(
    { noticeId: 'n-2', ...principal, ...always },
    'operator:admin',
  );
  pass(2 * MINUTE_MS);
  const [byOther, byBilling] = [await admit(50, OTHER), await admit(50)];
  await world.publish(policyOf(900));
  pass(2 * MINUTE_MS);
  const [refused, kept] = [await admit(700), await admit(400)];
  expect(
    [tooMuch, small, byCredential, byOther, byBilling, kept].map(({ status }) => status),
  ).toEqual([201, 201, 201, 201, 201, 201]);
  expect(refused.status).toBe(403);

  hostClock.stepWall(3 * HOUR_MS);
  network.isCut = false;
  await until(
    async () => (await world.get(`/v1/operations/${kept.id}`)).status === 200,
    'all is reported',
  );
  await until(async () => (await list()).reevaluation.behindEvents === 0, 'all is looked at');
  const { items } = await list();
  expect(new Set(items.map(idOf))).toEqual(
    new Set([tooMuch.id, byCredential.id, byOther.id, refused.id]),
  );
  expect(items.map(({ certainty }) => certainty)).toEqual(items.map(() => 'certain'));
  const reasons = new Map(items.map((one) => [idOf(one), one.current.reason]));
  expect([tooMuch, byCredential, byOther, refused].map(({ id }) => reasons.get(id))).toEqual([
    'denied',
    'credential_revoked',
    'principal_revoked',
    'permitted',
  ]);
  expect(cached.status).toBe(201);

  await settle(items, { tooMuch, small, byOther, refused, outageId });
});

test('a notice that says it has held since before finds what was looked at already', async () => {
  await until(async () => (await admit(1)).status === 201, 'work is admitted');
  const fromMs = world.clock.now().wallMs;
  pass(MINUTE_MS);
  const late = await admit(20, OTHER);
  await until(
    async () => (await world.get(`/v1/operations/${late.id}`)).status === 200,
    'it is reported',
  );
  await until(async () => (await list()).reevaluation.behindEvents === 0, 'all is looked at');
  expect((await list()).items).toEqual([]);
  await world.control.notices.record(
    {
      noticeId: 'n-1',
      kind: 'revoke_principal',
      subject: OTHER,
      reason: 'left',
      fromMs,
      untilMs: null,
    },
    'operator:admin',
  );
  await until(async () => (await list()).items.length > 0, 'it is looked at again');
  expect((await list()).items.map(idOf)).toEqual([late.id]);
});
