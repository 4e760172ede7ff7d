/** Notices at control: given, delivered, confirmed, and what is said of hosts that have not. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { NoticeDetail, NoticePosition } from '../../shared/wire/notices.ts';
import { ControlWorld, policyDocument } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create();
});
afterEach(() => world.dispose());

const MALLORY = { kind: 'revoke_principal', subject: 'agent:mallory', reason: 'stolen' } as const;
const NOWHERE: NoticePosition = { sequence: 0, entryId: null };

async function give(body: object = MALLORY): Promise<NoticeDetail> {
  const { status, json, text } = await world.call('POST', '/v1/notices', { body });
  if (status !== 201) throw new Error(text);
  return json as unknown as NoticeDetail;
}

async function see(noticeId: string): Promise<NoticeDetail> {
  return (await world.get(`/v1/notices/${noticeId}`)).json as unknown as NoticeDetail;
}

/** Takes what it is given and says so; answers with what it holds then. */
async function takeAll(host: SigningHost, from = NOWHERE): Promise<NoticePosition> {
  const { notices } = await host.sync({ over: { notices: from } });
  if (notices?.statement === undefined) return from;
  const text = Buffer.from(notices.statement.split('.')[1] ?? '', 'base64url').toString();
  const { entries } = JSON.parse(text) as { entries: { sequence: number; entryId: string }[] };
  const { sequence, entryId } = entries.at(-1) ?? { sequence: 0, entryId: '' };
  return takeAll(host, { sequence, entryId });
}

test('a notice is confirmed host by host, and the same again is the same one (I1)', async () => {
  await world.publish();
  const host = await world.enrolHost();
  await host.sync();
  const { noticeId, hosts } = await give();
  expect(hosts).toMatchObject([{ state: 'may_act', sequence: 0 }]);
  const again = await world.call('POST', '/v1/notices', { body: MALLORY });
  expect(again).toMatchObject({ status: 200, json: { noticeId } });
  await takeAll(host);
  expect(await see(noticeId)).toMatchObject({
    confirmed: 1,
    unconfirmed: 0,
    admitsUntilMs: null,
    hosts: [{ state: 'confirmed', admitsUntilMs: null }],
  });
  expect(await world.metric('holdfast_control_notices_unconfirmed')).toBe(0);
});

test('I5: the bound of a silent host runs from when it was heard, and never earlier', async () => {
  await world.publish(policyDocument({ defaults: { maxStaleness: '10m', maxDeadline: '20m' } }));
  const host = await world.enrolHost();
  await host.sync({ policyRevision: 1 });
  const heardMs = world.clock.now().wallMs;
  await world.clock.advance(60_000);
  const { noticeId, admitsUntilMs, actsUntilMs } = await give();
  expect(admitsUntilMs).toBeGreaterThanOrEqual(heardMs + 600_000);
  expect(admitsUntilMs).toBeLessThan(heardMs + 610_000);
  expect(actsUntilMs).toBeGreaterThanOrEqual(heardMs + 1_800_000);
  await world.clock.advance(1_900_000);
  expect(await see(noticeId)).toMatchObject({ hosts: [{ state: 'bound_passed' }] });
  // A restart forgets when it was heard: it counts as heard then.
  await world.restart();
  expect(await see(noticeId)).toMatchObject({ hosts: [{ state: 'may_act' }] });
});

test('who waits for a bundle is told at once, and a lift goes the same way', async () => {
  await world.publish();
  const host = await world.enrolHost();
  const etag = (await host.request('GET', '/v1/bundle')).headers.get('etag') ?? '';
  await host.sync({ over: { notices: NOWHERE } });
  const headers = { 'if-none-match': etag };
  const poll = host.request('GET', '/v1/bundle?wait=30s', undefined, { headers });
  const { noticeId } = await give();
  const told = await poll;
  expect([told.status, told.headers.get('holdfast-notices')]).toEqual([304, '1']);
  expect(told.headers.get('holdfast-notices-statement')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
  const held = await takeAll(host);
  const body = { reason: 'found again' };
  const lifted = await world.call('POST', `/v1/notices/${noticeId}:lift`, { body });
  expect(lifted.json).toMatchObject({ inForce: false, liftReason: 'found again', unconfirmed: 1 });
  expect(await takeAll(host, held)).toMatchObject({ sequence: 2 });
  expect(await see(noticeId)).toMatchObject({ confirmed: 1, sequence: 2 });
  const trail = (await world.get('/v1/audit?limit=500')).text;
  for (const action of ['notice.recorded', 'notice.lifted']) expect(trail).toContain(action);
});

test('after an older copy no number comes again, and hosts are told everything (I6)', async () => {
  await give();
  const host = await world.enrolHost();
  await takeAll(host);
  const restore = await world.backUp({ all: true });
  await give({ ...MALLORY, subject: 'agent:second' });
  const held = await takeAll(host);
  expect(held.sequence).toBe(2);
  await restore();
  // Control knows only one; the host says that it has two.
  const { noticeId } = await give({ ...MALLORY, subject: 'agent:third' });
  const now = await takeAll(host, held);
  expect(now.sequence).toBeGreaterThan(held.sequence);
  expect(await see(noticeId)).toMatchObject({ confirmed: 1, unconfirmed: 0 });
});

test('a fresh decision obeys a notice that the host has not got, and bad subjects name the way out', async () => {
  await world.publish();
  const host = await world.enrolHost();
  await give({ ...MALLORY, subject: 'agent:billing' });
  const input = {
    principal: 'agent:billing',
    action: 'payments.capture',
    attributes: { amount: 1 },
  };
  const answer = await host.request('POST', '/v1/decisions', input);
  const said = Buffer.from(answer.text.split('.')[1] ?? '', 'base64url').toString();
  expect(JSON.parse(said)).toMatchObject({ decision: { decision: 'deny', reason: 'denied' } });
  const bad = await world.call('POST', '/v1/notices', { body: { ...MALLORY, subject: 'mallory' } });
  expect(bad).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
});
