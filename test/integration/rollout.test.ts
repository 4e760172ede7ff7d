import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { policyDocument } from '../fakes/control-world.ts';
import { FleetWorld } from '../fakes/fleet-world.ts';

const document = (description: string) => policyDocument({ description });

let world: FleetWorld;
/** Four hosts, one of them the canary, on revision 1. */
beforeEach(async () => {
  world = await FleetWorld.create([{ canary: 'true' }, {}, {}, {}], {
    rolloutStages: ['canary=true/1m', '50%/1m', '100%'],
  });
  await world.control.publish(document('first'));
  await world.round();
});
afterEach(() => world.dispose());

const publish = () => world.control.publish(document('second'));

describe('a roll-out by stages', () => {
  test('the first revision goes to all: there is nothing to stay at', async () => {
    expect(world.running()).toEqual([1, 1, 1, 1]);
    expect((await world.control.get('/v1/policy/rollout')).status).toBe(404);
  });

  test('canaries, then half, then all, each after its bake time', async () => {
    expect((await publish()).json).toMatchObject({ outcome: 'published', rollout: 'staged' });
    await world.round();
    expect(world.running()).toEqual([2, 1, 1, 1]);
    expect(await world.rollout()).toMatchObject({
      policyRevision: 2,
      baseRevision: 1,
      state: 'baking',
      stage: 1,
      selected: 1,
      activated: 1,
    });
    await world.pass(30_000);
    expect(world.running()).toEqual([2, 1, 1, 1]);
    await world.pass(45_000);
    // Half of four, and the canary where it is not one of them.
    expect(world.running().filter((revision) => revision === 2)).toHaveLength(2);
    expect(await world.rollout()).toMatchObject({ stage: 2 });
    await world.pass(90_000);
    expect(world.running()).toEqual([2, 2, 2, 2]);
    expect(await world.rollout()).toMatchObject({ state: 'completed', waitingFor: null });
    expect(await world.audited('policy.rollout')).toEqual([
      'control policy.rollout.stage policy/2',
      'control policy.rollout.stage policy/2',
      'control policy.rollout.completed policy/2',
    ]);
    expect(await world.control.metric('holdfast_control_rollout_state{state="completed"}')).toBe(1);
  });

  test('what is asked with the publication goes before the configuration', async () => {
    const answer = await world.control.call('PUT', '/v1/policy?rollout=all', {
      body: document('second'),
      headers: { 'if-match': '"1"' },
    });
    expect(answer.json).toMatchObject({ rollout: 'all' });
    await world.round();
    expect(world.running()).toEqual([2, 2, 2, 2]);
  });

  test('each host is decided for, and given the bundle of, the revision that it is to run', async () => {
    await publish();
    await world.round();
    const input = {
      principal: 'agent:billing',
      action: 'payments.capture',
      attributes: { amount: 1 },
    };
    const revisions = [];
    for (const { host } of world.hosts.slice(0, 2)) {
      const { text } = await host.request('POST', '/v1/decisions', input);
      const payload = Buffer.from(text.split('.')[1] ?? '', 'base64url').toString();
      revisions.push((JSON.parse(payload) as { policyRevision: number }).policyRevision);
    }
    expect(revisions).toEqual([2, 1]);
    const bundle = await world.host(2).host.request('GET', '/v1/bundle');
    expect(bundle.headers.get('cache-control')).toBe('private, no-cache');
  });

  test('no other revision is published meanwhile', async () => {
    await publish();
    const answer = await world.control.publish(document('third'));
    expect([answer.status, answer.json['code']]).toEqual([409, 'rollout_in_progress']);
    const { json } = await world.control.get('/v1/policy/revisions');
    expect(json['items']).toHaveLength(2);
  });

  test('a host that is away is not waited for, and gets it when it is back', async () => {
    const away = world.host(4);
    world.hosts.pop();
    await world.pass(60_000);
    await publish();
    await world.pass(180_000);
    expect(await world.rollout()).toMatchObject({ state: 'completed' });
    await away.sync();
    expect(away.policyRevision).toBe(2);
  });

  test('a host that comes into the stage while it bakes has to run it too', async () => {
    await publish();
    await world.round();
    world.host(2).labels['canary'] = 'true';
    await world.round();
    await world.round();
    expect(world.running()).toEqual([2, 2, 1, 1]);
  });

  test('what an operator says of a host goes before what it says of itself, and shows', async () => {
    const put = (host: string, labels: Record<string, string>) =>
      world.control.call('PUT', `/v1/hosts/${host}/labels`, { body: labels });
    const labelled = await put('host-1', { canary: 'no', zone: 'a' });
    expect(labelled.json).toMatchObject({
      labels: { canary: 'no', zone: 'a' },
      effectiveLabels: { canary: 'no', zone: 'a' },
    });
    await put('host-3', { canary: 'true' });
    await publish();
    await world.round();
    expect(world.running()).toEqual([1, 1, 2, 1]);
    const fleet = (await world.control.get('/v1/fleet')).json['items'];
    expect(fleet).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ hostName: 'host-1', labels: { canary: 'no', zone: 'a' } }),
        expect.objectContaining({ hostName: 'host-3', labels: { canary: 'true' } }),
      ]),
    );

    // Also after a restart, and no longer once the operator takes it back.
    await world.control.restart();
    await world.order('halt');
    await put('host-1', {});
    expect((await world.control.get('/v1/hosts/host-1/settings')).json).toMatchObject({
      labels: {},
      effectiveLabels: { canary: 'true' },
    });
    expect((await world.control.get('/v1/hosts/host-3/settings')).json).toMatchObject({
      effectiveLabels: { canary: 'true' },
    });
  });

  test('nothing goes on where no host fits: it proves nothing', async () => {
    delete world.host(1).labels['canary'];
    await world.round();
    await publish();
    await world.pass(120_000);
    expect(world.running()).toEqual([1, 1, 1, 1]);
    expect(await world.rollout()).toMatchObject({
      state: 'running',
      stage: 1,
      waitingFor: 'a host in contact that stage 1 (canary=true) fits',
    });
  });
});

describe('I11: a revision that does harm where it is tried never reaches the others', () => {
  /** And the other hosts ask at once what they are to run. */
  const publishToCanary = async () => {
    await publish();
    for (const host of world.hosts.slice(1)) await host.sync();
  };
  const expectHalted = async (reason: RegExp, cause: string) => {
    await world.round();
    await world.round();
    const rollout = await world.rollout();
    expect(rollout).toMatchObject({ state: 'halted', returnRevision: 3, policyRevision: 2 });
    expect(rollout['reason']).toMatch(reason);
    expect(world.running()).toEqual([3, 3, 3, 3]);
    expect(world.hosts.map((host) => host.document)).toEqual(Array(4).fill('first'));
    // No other host was ever told to run it.
    for (const { told } of world.hosts.slice(1)) expect(told).toEqual([1, 3]);
    const metric = `holdfast_control_rollout_halts_total{cause="${cause}"}`;
    expect(await world.control.metric(metric)).toBe(1);
    expect(await world.audited('policy.r')).toEqual([
      'control policy.rollout.halted policy/2',
      'control policy.returned policy/3',
    ]);
    expect(world.control.logged.some(({ msg }) => msg.startsWith('roll-out halted'))).toBe(true);
    const { json } = await world.control.get('/v1/health');
    expect(json).toMatchObject({
      controlPlane: { verdict: 'impaired', parts: { rollout: { state: 'degraded' } } },
    });
  };

  test('a canary rejects it', async () => {
    world.host(1).refuses = (revision) => (revision === 2 ? 'policy_invalid: /rules/0' : null);
    await publishToCanary();
    await world.host(1).sync();
    await expectHalted(/host-1 could not apply it: policy_invalid: \/rules\/0/, 'rejected');
  });

  test('a canary quarantines it: it killed the process twice', async () => {
    world.host(1).refuses = (revision) =>
      revision === 2 ? 'quarantined: the sidecar ended 2 times' : null;
    await publishToCanary();
    await world.host(1).sync();
    await expectHalted(/host-1 could not apply it: quarantined/, 'rejected');
  });

  test('the sidecar of a canary dies while it puts it in force', async () => {
    await publishToCanary();
    await world.host(1).host.sync({
      policyRevision: 1,
      highWater: { policyRevision: 1 },
      over: {
        labels: { canary: 'true' },
        processId: 'process-1',
        activationDeaths: { policyRevision: 2, deaths: 2 },
      },
    });
    await world.look();
    await expectHalted(/host-1 ended 2 times/, 'crashed');
  });

  test('the sidecar of a canary starts again and again since it was offered it', async () => {
    await publishToCanary();
    for (let start = 2; start <= 4; start += 1) {
      await world.host(1).sync();
      world.host(1).processId = `process-${start}`;
    }
    await world.host(1).sync();
    await world.look();
    await expectHalted(/host-1 started again 3 times/, 'crashed');
  });

  test('a canary is not heard any more since it was offered it', async () => {
    await publishToCanary();
    await world.host(1).sync();
    const [canary, ...others] = world.hosts;
    world.hosts.splice(0, 1);
    await world.pass(65_000);
    if (canary !== undefined) world.hosts.splice(0, 4, canary, ...others);
    await expectHalted(/host-1 has not been heard/, 'silent');
  });

  test('a canary refuses clearly more than it did', async () => {
    const before = { policyRevision: 1, admitted: 990, refused: 10, ruleErrors: 0 };
    world.host(1).decisions = [before];
    await world.round();
    await publishToCanary();
    await world.round();
    const after = (refused: number) => ({
      policyRevision: 2,
      admitted: 100,
      refused,
      ruleErrors: 0,
    });
    world.host(1).decisions = [before, after(1)];
    await world.round();
    expect(await world.rollout()).toMatchObject({ state: 'baking' });
    world.host(1).decisions = [before, after(20)];
    await world.host(1).sync();
    await world.look();
    await expectHalted(
      /refuse 16\.7% \(20 of 120\) of requests, 1\.0% \(10 of 1000\) under revision 1/,
      'refusals',
    );
  });

  test('when nobody is heard it is not the revision: nothing is halted', async () => {
    await publishToCanary();
    await world.host(1).sync();
    await world.control.clock.advance(120_000);
    expect(await world.rollout()).toMatchObject({ state: 'running' });
  });

  test('a control that ends between the halt and the return goes on with it', async () => {
    world.host(1).refuses = (revision) => (revision === 2 ? 'policy_invalid: x' : null);
    await publishToCanary();
    const { store } = world.control;
    const append = store.policy.append.bind(store.policy);
    store.policy.append = async () => {
      store.policy.append = append;
      throw new Error('the disk is slow');
    };
    await world.host(1).sync();
    await world.order('halt');
    expect(await world.rollout()).toMatchObject({ state: 'halted', returnRevision: null });
    // Nobody is given it, and nothing else is published, before it is over.
    await world.host(2).sync();
    expect(world.host(2).told).toEqual([1]);
    expect((await world.control.publish(document('third'))).status).toBe(409);
    await world.control.restart();
    await world.look();
    // Which numbers hosts have had is not known yet.
    expect(await world.rollout()).toMatchObject({ state: 'halted', returnRevision: null });
    await world.round();
    // The number that was taken for the first try is never given again.
    expect(await world.rollout()).toMatchObject({ state: 'halted', returnRevision: 4 });
    await world.round();
    expect(world.running()).toEqual([4, 4, 4, 4]);
  });
});

describe('a person', () => {
  test('promotes to the next stage, and to all at once', async () => {
    await publish();
    await world.round();
    expect((await world.order('promote')).json).toMatchObject({ state: 'running', stage: 2 });
    await world.round();
    // Half of four, and the canary where it is not one of them.
    expect(world.running().filter((revision) => revision === 2)).toHaveLength(2);
    expect((await world.order('promote', { all: true })).json).toMatchObject({
      state: 'completed',
    });
    await world.round();
    expect(world.running()).toEqual([2, 2, 2, 2]);
    const answer = await world.order('promote');
    expect([answer.status, answer.json['code']]).toEqual([409, 'rollout_ended']);
  });

  test('pauses: hosts keep what they have, trouble still halts', async () => {
    await publish();
    await world.round();
    const paused = await world.order('pause', { reason: 'lunch' });
    expect(paused.json).toMatchObject({ state: 'paused', reason: 'lunch' });
    await world.pass(120_000);
    expect(world.running()).toEqual([2, 1, 1, 1]);
    expect((await world.order('resume')).json).toMatchObject({ state: 'running', reason: null });
    await world.order('pause');
    world.host(1).rejected = { policyRevision: 2, reason: 'policy_invalid: late' };
    await world.round();
    expect(await world.rollout()).toMatchObject({ state: 'halted' });
  });

  test('halts: the document of before is back for everybody, under a number of its own', async () => {
    await publish();
    await world.round();
    const halted = await world.order('halt', { reason: 'a call came in' }, { 'if-match': '"2"' });
    expect(halted.json).toMatchObject({ state: 'halted', returnRevision: 3 });
    expect((await world.order('halt')).status).toBe(200);
    await world.round();
    expect(world.running()).toEqual([3, 3, 3, 3]);
    expect((await world.control.publish(document('third'))).json).toMatchObject({
      policyRevision: 4,
    });
  });

  test('orders only what was read, where that is said', async () => {
    await publish();
    const answer = await world.order('halt', {}, { 'if-match': '"1"' });
    expect([answer.status, answer.json['code']]).toEqual([412, 'revision_conflict']);
    expect(await world.rollout()).toMatchObject({ state: 'running' });
  });

  test('rolls back to any revision, as a new one, also out of a roll-out', async () => {
    await publish();
    await world.round();
    const rollBack = (headers: Record<string, string>, toRevision = 1) =>
      world.control.call('POST', '/v1/policy:rollback', { body: { toRevision }, headers });
    expect((await rollBack({})).status).toBe(428);
    expect((await rollBack({ 'if-match': '"1"' })).status).toBe(412);
    expect((await rollBack({ 'if-match': '"2"' }, 9)).status).toBe(404);
    const back = await rollBack({ 'if-match': '"2"' });
    expect(back.json).toMatchObject({ policyRevision: 3, outcome: 'published', rollout: 'all' });
    expect(await world.rollout()).toMatchObject({ state: 'rolled_back', returnRevision: 3 });
    await world.round();
    expect(world.running()).toEqual([3, 3, 3, 3]);
    expect(world.host(4).document).toBe('first');
    expect(await world.audited('policy.rolled_back')).toEqual([
      'operator:admin policy.rolled_back policy/3',
    ]);
  });
});

test('a restart in the middle goes on, and only makes the stage longer', async () => {
  await publish();
  await world.round();
  await world.pass(30_000);
  const before = await world.rollout();
  await world.control.stop();
  world.control.clock.jump(3_600_000);
  await world.control.start();
  await world.round();
  const after = await world.rollout();
  expect(after).toMatchObject({ stage: 1, state: 'baking' });
  expect(Number(after['bakedMs'])).toBeLessThanOrEqual(Number(before['bakedMs']) + 5_000);
  expect(world.running()).toEqual([2, 1, 1, 1]);
  await world.pass(180_000);
  expect(world.running()).toEqual([2, 2, 2, 2]);
});

test('the fleet: which host runs what, since when, and why it does not run its target', async () => {
  const sinceMs = world.control.clock.now().wallMs;
  await publish();
  await world.host(1).sync();
  await world.host(2).sync();
  const fleet = async () =>
    (await world.control.get('/v1/fleet')).json['items'] as Record<string, unknown>[];
  const named = async (name: string) => (await fleet()).find((host) => host['hostName'] === name);
  expect(await named('host-1')).toMatchObject({
    policyRevision: 2,
    sinceMs,
    targetRevision: 2,
    labels: { canary: 'true' },
    lag: null,
    note: null,
  });
  expect(await named('host-2')).toMatchObject({
    policyRevision: 1,
    targetRevision: 1,
    lag: null,
    note: 'revision 2 is being rolled out (stage 1 of 3, running); this host is not in it yet',
  });
  await world.order('promote', { all: true });
  world.host(3).refuses = () => 'policy_invalid: /rules/0';
  await world.host(3).sync();
  expect(await named('host-3')).toMatchObject({
    lag: { reason: 'rejected', detail: 'policy_invalid: /rules/0' },
  });
  expect(await named('host-2')).toMatchObject({ lag: { reason: 'downloading' } });
  await world.control.clock.advance(61_000);
  expect(await named('host-4')).toMatchObject({ lag: { reason: 'not_connected' } });
});
