/** Paused work when control is back: decided again, released at a rate, with a stop button. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import type { Resume } from '../../shared/wire/resume-api.ts';
import { activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { fc } from '../fakes/properties.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { OUTAGE, asOperator, callerOf } from '../fakes/sidecar-caller.ts';

const RATE = 4;
const ACTIONS = ['work.plain', 'work.tight', 'work.fresh', 'work.approve', 'work.fail'] as const;
type Action = (typeof ACTIONS)[number];

/** `changed`: the revision that control has published while it was away. */
function policyOf(changed: boolean): PolicyDocument {
  const permits = [{ expression: 'true' }];
  const tight = changed ? [{ expression: 'attributes.amount < 10' }] : permits;
  const fails = changed ? [{ expression: 'attributes.missing == 1' }] : permits;
  const rule = (name: Action, over: object) => ({
    name: name.replace('.', '-'),
    actions: [name],
    permit: permits,
    onControlLoss: 'pause' as const,
    ...over,
  });
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [
      rule('work.plain', { effects: { send: {} } }),
      rule('work.tight', { permit: tight }),
      rule('work.fresh', changed ? { freshness: 'fresh' } : {}),
      rule('work.approve', changed ? { approval: { required: 1, from: 'role:boss' } } : {}),
      rule('work.fail', { permit: fails }),
    ],
  };
}

let clock: FakeClock;
let directory: string;
let sidecar: TestSidecar;
beforeEach(async () => {
  clock = new FakeClock({ bootMs: 10 ** 12 });
  directory = mkdtempSync(`${tmpdir()}/holdfast-resume-`);
  await open();
});
afterEach(async () => {
  await sidecar.close();
  rmSync(directory, { recursive: true, force: true });
});
const { call, admit } = callerOf(() => sidecar);

async function open(): Promise<void> {
  sidecar = await openTestSidecar({ clock, directory, resumeRate: RATE });
  sidecar.authority.active = activePolicy(policyOf(false), 1);
  sidecar.authority.staleness = 0;
}

async function accept(action: Action, key: string, over: object = {}): Promise<string> {
  const body = { principal: 'agent:billing', action, attributes: { amount: 5 }, ...over };
  const answer = await admit(body, key);
  expect(answer.statusCode).toBe(201);
  return answer.json<{ operationId: string }>().operationId;
}

/** Paused, and control away since a moment before now. */
async function loseControl(): Promise<void> {
  sidecar.authority.outage = OUTAGE;
  sidecar.authority.outOfReach = 1_000;
  await clock.advance(1_000);
  sidecar.authority.staleness = 2_000;
  for (let turn = 0; turn < 3; turn += 1) await sidecar.custodian.round();
}

/** The sync that ends the outage, and with `changed` the revision that it told of. */
function comeBack(changed = false): void {
  sidecar.authority.outage = null;
  sidecar.authority.outOfReach = null;
  sidecar.authority.staleness = 0;
  if (changed) sidecar.authority.active = activePolicy(policyOf(true), 2);
}

async function round(passedMs = 0): Promise<Resume> {
  await clock.advance(passedMs);
  await sidecar.custodian.round();
  return status();
}
const status = async (): Promise<Resume> =>
  (await call('GET', '/v1/resume', { headers: asOperator })).json<Resume>();
const order = async (verb: string, body: object, headers: Record<string, string> = asOperator) =>
  call('POST', `/v1/resume:${verb}`, { body, headers });
const see = async (id: string) =>
  (await call('GET', `/v1/operations/${id}`)).json<{ state: string; reason: string | null }>();
const kinds = (id: string, kind: string) =>
  sidecar.journal.reader.operationEvents(id, 100).filter((event) => event.kind === kind);

describe('classified first', () => {
  test('I3, I5: each is decided again under the revision that control came back with', async () => {
    const ids = {} as Record<Action | 'late' | 'small', string>;
    for (const action of ACTIONS)
      ids[action] = await accept(action, action, { attributes: { amount: 50 } });
    ids.small = await accept('work.tight', 'small', { attributes: { amount: 5 } });
    ids.late = await accept('work.plain', 'late', { deadlineMs: 1_500 });
    await loseControl();
    await order('stop', { reason: 'look first' });
    comeBack(true);
    await clock.advance(600);
    sidecar.authority.staleness = 0;
    const held = await round();
    expect(held).toMatchObject({ state: 'stopped', policyRevision: 2, released: 0, refused: 0 });
    expect(held.byVerdict).toMatchObject({ may_continue: 2, ask_control: 1, refused: 1 });
    expect(held.byVerdict).toMatchObject({ needs_person: 2, deadline_passed: 0 });
    expect(held.needsPerson.map(({ reason }) => reason).toSorted()).toEqual([
      'approval_required',
      'rule_error',
    ]);
    expect(await see(ids.late)).toMatchObject({ state: 'expired' });
    sidecar.authority.freshAnswer = () =>
      Promise.resolve({
        ok: true,
        policyRevision: 2,
        stalenessMs: 3,
        decision: {
          decision: 'deny',
          reason: 'denied',
          rule: 'work-fresh',
          message: 'not any more',
          warnings: [],
          terms: null,
          leaseResource: null,
        },
      });
    await order('start', { reason: 'go' });
    for (let turn = 0; turn < 8; turn += 1) await round(1_000);
    expect(await see(ids['work.plain'])).toMatchObject({ state: 'accepted' });
    expect(await see(ids.small)).toMatchObject({ state: 'accepted', reason: 'control_regained' });
    for (const id of [ids['work.tight'], ids['work.fresh']])
      expect(await see(id)).toMatchObject({ reason: 'resume_refused' });
    for (const id of [ids['work.approve'], ids['work.fail']])
      expect(await see(id)).toMatchObject({ state: 'paused' });
    const [resumed] = kinds(ids.small, 'resumed');
    expect(resumed?.body['resume']).toEqual({
      basis: 'cached',
      policyRevision: 2,
      rule: 'work-tight',
      stalenessMs: 0,
    });
    expect(await round(1_000)).toMatchObject({ state: 'held', held: 2, released: 2, refused: 2 });
  });

  test('I5: nothing goes on before the authority in force is confirmed by a sync sent since', async () => {
    const id = await accept('work.plain', 'k-1');
    await loseControl();
    comeBack();
    // The sync told of a newer revision, which is not here yet: what is in force is as old as before.
    sidecar.authority.staleness = 3_000;
    expect(await round()).toMatchObject({ state: 'waiting', remaining: 1 });
    expect(await see(id)).toMatchObject({ state: 'paused' });
    const early = await order('release', { operationId: id, reason: 'now' });
    expect(early.json()).toMatchObject({ code: 'operation_paused', retryable: true });
    comeBack(true);
    expect(await round()).toMatchObject({ state: 'idle', released: 1 });
  });

  test('an effect that nobody reported holds its operation until it is reported, or a person has looked', async () => {
    const ids = [await accept('work.plain', 'a'), await accept('work.plain', 'b')] as const;
    for (const id of ids) {
      await call('POST', `/v1/operations/${id}/attempts`, { body: {} });
      await call('POST', `/v1/operations/${id}/attempts/1/effects/send`);
    }
    await loseControl();
    comeBack();
    expect((await round()).needsPerson).toMatchObject([
      { operationId: ids[0], reason: 'effect_unreported' },
      { operationId: ids[1], reason: 'effect_unreported' },
    ]);
    await call('POST', `/v1/operations/${ids[0]}/attempts/1/effects/send/result`, {
      body: { outcome: 'succeeded' },
    });
    const released = await order('release', { operationId: ids[1], reason: 'it was not sent' });
    expect(released.json()).toMatchObject({ state: 'accepted' });
    expect(kinds(ids[1], 'resumed')[0]?.body['resume']).toMatchObject({
      by: 'ops',
      why: 'it was not sent',
    });
  });
});

describe('released at a rate', () => {
  test('the earliest deadline first, and no more in a second than the rate', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 10; index += 1)
      ids.push(await accept('work.plain', `k-${index}`, { deadlineMs: 600_000 - index * 1_000 }));
    await loseControl();
    comeBack();
    const seen: string[][] = [];
    for (let turn = 0; turn < 12; turn += 1) {
      await round(turn === 0 ? 0 : 250);
      const states = await Promise.all(ids.map(see));
      seen.push(ids.filter((_, index) => states[index]?.state === 'accepted'));
    }
    expect(seen.map(({ length }) => length)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]);
    for (const [turn, accepted] of seen.entries())
      expect(accepted).toEqual(ids.slice(-Math.min(10, turn + 1)));
  });

  test('an operator sets the rate, and takes it back', async () => {
    expect(await status()).toMatchObject({ state: 'idle', ratePerSecond: RATE, order: null });
    await order('rate', { ratePerSecond: 1_000, reason: 'hurry' });
    expect(await status()).toMatchObject({ ratePerSecond: 1_000 });
    await order('rate', { ratePerSecond: null, reason: 'calm' });
    expect(await status()).toMatchObject({ ratePerSecond: RATE });
    expect((await order('rate', { ratePerSecond: 0, reason: 'x' })).statusCode).toBe(400);
    expect((await order('stop', {})).statusCode).toBe(400);
    expect((await order('stop', { reason: 'x' }, {})).json()).toMatchObject({ code: 'forbidden' });
  });

  test('I1: a stop holds over a restart, with who and why, and one is released all the same', async () => {
    const ids = [await accept('work.plain', 'a'), await accept('work.tight', 'b')] as const;
    await loseControl();
    const stopped = (await order('stop', { reason: 'the target is down' })).json<Resume>();
    expect(stopped.order).toMatchObject({ order: 'stop', by: 'ops', reason: 'the target is down' });
    await sidecar.close();
    await open();
    sidecar.authority.active = activePolicy(policyOf(true), 2);
    for (let turn = 0; turn < 4; turn += 1) await round(1_000);
    expect(await status()).toMatchObject({
      state: 'stopped',
      remaining: 2,
      order: { isStopped: true, reason: 'the target is down' },
    });
    const [entry] = sidecar.journal.reader
      .eventsAfter(0, 1_000)
      .filter(({ kind }) => kind === 'resume_ordered');
    expect(entry?.body).toMatchObject({ by: 'ops', isStopped: true });
    const one = { operationId: ids[0], reason: 'urgent' };
    expect((await order('release', one)).statusCode).toBe(200);
    expect((await order('release', one)).json()).toMatchObject({ code: 'operation_not_paused' });
    await order('start', { reason: 'it is back' });
    for (let turn = 0; turn < 4; turn += 1) await round(1_000);
    expect(await status()).toMatchObject({ state: 'idle', remaining: 0 });
  });

  test('nobody releases what the policy in force refuses', async () => {
    const id = await accept('work.tight', 'a', { attributes: { amount: 50 } });
    await loseControl();
    await order('stop', { reason: 'x' });
    comeBack(true);
    await round();
    const answer = await order('release', { operationId: id, reason: 'please' });
    expect(answer.json()).toMatchObject({ code: 'resume_refused', status: 409 });
    expect(await see(id)).toMatchObject({ state: 'paused' });
  });
});

type Step = 'lose' | 'back' | 'back_changed' | 'stop' | 'start' | 'round' | 'restart' | 'release';

test('I8, I3: whatever happens in whatever order, each leaves `paused` once for each time it was paused, none is lost, and none runs that is refused', async () => {
  let run = 0;
  const steps = fc.array(
    fc.constantFrom<Step>(
      'lose',
      'back',
      'back_changed',
      'stop',
      'start',
      'round',
      'round',
      'restart',
      'release',
    ),
    { minLength: 3, maxLength: 10 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (order_) => {
      run += 1;
      sidecar.authority.active = activePolicy(policyOf(false), 1);
      comeBack();
      const big = await accept('work.tight', `big-${run}`, { attributes: { amount: 50 } });
      const ids = [
        big,
        await accept('work.plain', `p-${run}`),
        await accept('work.tight', `t-${run}`),
      ];
      for (const step of [...order_, 'back_changed', 'start', 'round'] as const)
        await take(step, ids);
      for (let turn = 0; turn < 6; turn += 1) await round(1_000);
      for (const id of ids) {
        const [paused, left] = [kinds(id, 'paused'), kinds(id, 'resumed')];
        const ended = kinds(id, 'cancelled');
        expect(left.length + ended.length).toBe(paused.length);
        const { state } = await see(id);
        expect(state).toBe(ended.length > 0 ? 'cancelled' : 'accepted');
        for (const { body } of id === big ? left : [])
          expect(body['resume']).toMatchObject({ policyRevision: 1 });
        await call('POST', `/v1/operations/${id}/cancel`, { body: {} });
      }
    }),
    { numRuns: 6 },
  );
}, 60_000);

async function take(step: Step, ids: readonly string[]): Promise<void> {
  if (step === 'lose') await loseControl();
  else if (step === 'back') comeBack();
  else if (step === 'back_changed') comeBack(true);
  else if (step === 'stop' || step === 'start') await order(step, { reason: step });
  else if (step === 'round') await round(500);
  else if (step === 'release')
    await Promise.all(ids.map((operationId) => order('release', { operationId, reason: 'r' })));
  else {
    const { active, outage, outOfReach, staleness } = sidecar.authority;
    await sidecar.close();
    await open();
    Object.assign(sidecar.authority, { active, outage, outOfReach, staleness });
  }
}
