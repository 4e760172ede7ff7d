import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openStandIn, problem, type Answer, type StandIn } from '../../fakes/http-stand-in.ts';
import { runQuietly } from '../../fakes/run-command.ts';

let cwd = '';
let standIn: StandIn | undefined;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  writeFileSync(join(cwd, 'policy.yaml'), 'kind: Policy\n');
});
afterEach(async () => {
  await standIn?.close();
  rmSync(cwd, { recursive: true });
});

async function answering(answers: Record<string, Answer>): Promise<void> {
  standIn = await openStandIn(({ method, path }) => {
    const answer = answers[`${method} ${path.split('?')[0] ?? ''}`];
    if (answer === undefined) throw new Error(`${method} ${path} was not expected`);
    return answer;
  });
}

async function run(...argv: string[]) {
  return runQuietly(['--control', standIn?.url ?? 'http://127.0.0.1:9', ...argv], {
    cwd,
    env: { HOLDFAST_CONTROL_TOKEN: 'secret' },
  });
}

const REPORT = {
  comparedWith: 3,
  warnings: ['of 4 rules 2 are left'],
  loosening: {
    mayLoosen: true,
    looser: 1,
    tighter: 0,
    changed: 0,
    changes: [
      {
        path: '/rules/0/maxStaleness',
        kind: 'looser',
        before: '5m',
        after: '15m',
        sentence: 'rule capture: maxStaleness 5m -> 15m: cached authority is good for longer',
      },
    ],
    tests: { compared: 0, same: 0, counts: {}, examples: [] },
  },
  impact: {
    compared: 3,
    same: 2,
    counts: {
      permit_to_deny: 0,
      deny_to_permit: 1,
      rule_changed: 0,
      reason_changed: 0,
      terms_changed: 0,
    },
    examples: [
      {
        kind: 'deny_to_permit',
        source: 'refusal ref_1',
        principal: 'agent:billing',
        action: 'payments.capture',
        resourceId: null,
        before: { decision: 'deny', reason: 'denied', rule: 'capture', message: 'at most 500' },
        after: { decision: 'permit', reason: 'permitted', rule: 'capture', message: '' },
      },
    ],
    notReplayable: 1,
    fromMs: 1,
    toMs: 2,
    isAll: true,
  },
  operations: { unfinished: 2, refused: 0, notReplayable: 0, isAll: true, examples: [] },
};
const ANSWER = {
  policyRevision: 4,
  policyDigest: 'a'.repeat(64),
  rules: 2,
  publishedAtMs: 0,
  publishedBy: 'ann',
  comment: null,
  report: REPORT,
};
const IN_FORCE = { status: 200, body: { policyRevision: 3, policy: {} } };

describe('policy apply', () => {
  test('says beside the answer what a person should know, and how it is rolled out', async () => {
    await answering({
      'GET /v1/policy': IN_FORCE,
      'PUT /v1/policy': {
        status: 201,
        body: { ...ANSWER, outcome: 'published', rollout: 'staged' },
      },
    });
    const { exitCode, err } = await run('policy', 'apply', 'policy.yaml', '--rollout', 'staged');
    expect(exitCode).toBe(0);
    expect(standIn?.asked.at(-1)?.path).toBe('/v1/policy?rollout=staged');
    expect(err.split('\n')).toEqual([
      'warning: of 4 rules 2 are left',
      'looser: rule capture: maxStaleness 5m -> 15m: cached authority is good for longer',
      'impact: of 3 the same: 2, 1 refused before and permitted now; 1 more could not be replayed',
      'it is rolled out by stages: holdfast policy rollout shows how far it is',
      '',
    ]);
  });

  test('of what needs a second person, how that person goes on', async () => {
    await answering({
      'GET /v1/policy': IN_FORCE,
      'PUT /v1/policy': {
        status: 202,
        body: { ...ANSWER, outcome: 'proposed', proposalId: 'prop_1' },
      },
    });
    const { out, err } = await run('policy', 'apply', 'policy.yaml', '--no-impact');
    expect(out).toMatch(/^proposal prop_1 waits for a second person/);
    expect(err).toContain('another operator: holdfast policy approve prop_1');
    expect(standIn?.asked.at(-1)?.path).toBe('/v1/policy?impact=false');
  });
});

test('policy impact prints the whole report, and publishes nothing', async () => {
  await answering({
    'GET /v1/policy': IN_FORCE,
    'PUT /v1/policy': {
      status: 200,
      body: { ...ANSWER, outcome: 'valid', needsApproval: true },
    },
  });
  const { exitCode, out } = await run('policy', 'impact', 'policy.yaml');
  expect(exitCode).toBe(0);
  expect(standIn?.asked.at(-1)?.path).toBe('/v1/policy?dryRun=true');
  for (const line of [
    'Beside revision 3',
    '1 looser, 0 otherwise changed, 0 tighter',
    '/rules/0/maxStaleness',
    'deny to permit',
    'denied by capture: at most 500',
    '0 of 2 would be refused by the new document',
    'A second person has to approve it.',
  ])
    expect(out).toContain(line);
});

const STATUS = {
  policyRevision: 4,
  baseRevision: 3,
  state: 'baking',
  stage: 1,
  stages: [
    { labels: { canary: 'true' }, percentage: 100, bakeMs: 600_000 },
    { labels: {}, percentage: 100, bakeMs: 0 },
  ],
  startedAtMs: 0,
  startedBy: 'operator:ann',
  stageAtMs: 0,
  bakedMs: 0,
  reason: null,
  endedAtMs: null,
  returnRevision: null,
  selected: 2,
  activated: 2,
  waitingFor: '10m more of bake time',
};

describe('a roll-out', () => {
  test('is shown', async () => {
    await answering({ 'GET /v1/policy/rollout': { status: 200, body: STATUS } });
    const { out } = await run('policy', 'rollout');
    for (const line of ['canary=true for 10m, then 100%\n', '2 of 2 run it', 'baking'])
      expect(out).toContain(line);
  });

  test.each([
    ['promote', ['--all'], { all: true }, STATUS, /is baking, stage 1 of 2; it waits for 10m/],
    ['pause', ['--reason', 'lunch'], { reason: 'lunch' }, { ...STATUS, state: 'paused' }, /paused/],
    ['resume', [], {}, STATUS, /is baking/],
    [
      'halt',
      [],
      {},
      { ...STATUS, state: 'halted', returnRevision: 5 },
      /halted; the document of before is in force again as revision 5/,
    ],
  ])('%s orders it', async (verb, flags, body, answer, sentence) => {
    await answering({ [`POST /v1/policy/rollout:${verb}`]: { status: 200, body: answer } });
    const { exitCode, out } = await run('policy', verb, '--if-revision', '4', ...flags);
    expect([exitCode, out]).toEqual([0, expect.stringMatching(sentence)]);
    expect(standIn?.asked.at(-1)).toMatchObject({
      headers: { 'if-match': '"4"' },
      body: JSON.stringify(body),
    });
  });

  test('that has ended is a conflict', async () => {
    await answering({ 'POST /v1/policy/rollout:promote': problem('rollout_ended') });
    expect((await run('policy', 'promote')).exitCode).toBe(5);
  });

  test('rollback names what is in force, and the revision whose document returns', async () => {
    await answering({
      'GET /v1/policy': IN_FORCE,
      'POST /v1/policy:rollback': { status: 201, body: { ...ANSWER, outcome: 'published' } },
    });
    const { out } = await run('policy', 'rollback', '1', '--comment', 'as it was');
    expect(out).toMatch(/the document of revision 1 is in force again as policy revision 4/);
    expect(standIn?.asked.at(-1)).toMatchObject({
      path: '/v1/policy:rollback?rollout=all',
      headers: { 'if-match': '"3"' },
      body: JSON.stringify({ toRevision: 1, comment: 'as it was' }),
    });
    expect((await run('policy', 'rollback', 'one')).exitCode).toBe(2);
  });
});

const PROPOSAL = {
  proposalId: 'prop_1',
  state: 'open',
  policyDigest: 'a'.repeat(64),
  replaces: 3,
  rules: 2,
  comment: 'why',
  rollout: 'all',
  proposedBy: 'operator:ann',
  proposedAtMs: 0,
  expiresAtMs: 86_400_000,
  decidedBy: null,
  decidedAtMs: null,
  reason: null,
  policyRevision: null,
};

describe('proposals', () => {
  test('are listed and shown with what they would change', async () => {
    await answering({
      'GET /v1/policy/proposals': { status: 200, body: { items: [PROPOSAL], nextCursor: null } },
      'GET /v1/policy/proposals/prop_1': {
        status: 200,
        body: { ...PROPOSAL, policy: { kind: 'Policy' }, report: REPORT },
      },
    });
    expect((await run('policy', 'proposals', '-o', 'name')).out).toBe('prop_1\n');
    expect((await run('policy', 'proposal', 'prop_1')).out).toContain('Beside revision 3');
    expect((await run('policy', 'proposal', 'prop_1', '--document')).out).toBe('kind: Policy\n');
  });

  test('are approved by the digest that was read', async () => {
    await answering({
      'GET /v1/policy/proposals/prop_1': { status: 200, body: PROPOSAL },
      'POST /v1/policy/proposals/prop_1:approve': {
        status: 201,
        body: { ...ANSWER, outcome: 'published', rollout: 'all' },
      },
    });
    expect((await run('policy', 'approve', 'prop_1')).out).toBe('policy revision 4 published\n');
    expect(standIn?.asked.at(-1)?.headers['if-match']).toBe(`"${'a'.repeat(64)}"`);
  });

  test.each(['reject', 'withdraw'])('%s says why', async (verb) => {
    const body = { ...PROPOSAL, state: `${verb}ed` };
    await answering({ [`POST /v1/policy/proposals/prop_1:${verb}`]: { status: 200, body } });
    const { out } = await run('policy', verb, 'prop_1', '--reason', 'no');
    expect(out).toBe(`proposal prop_1 is ${verb}ed\n`);
    expect(standIn?.asked.at(-1)?.body).toBe('{"reason":"no"}');
  });
});

test('the fleet says why a host does not run its target', async () => {
  const host = {
    hostId: 'host_1',
    hostName: 'one',
    state: 'connected',
    labels: { canary: 'true' },
    sidecarVersion: '1',
    policyRevision: 3,
    sinceMs: null,
    targetRevision: 4,
    lag: { reason: 'rejected', detail: 'policy_invalid' },
    note: null,
  };
  await answering({ 'GET /v1/fleet': { status: 200, body: { items: [host], nextCursor: null } } });
  const { out } = await run('fleet');
  expect(out).toContain('canary=true');
  expect(out).toContain('rejected: policy_invalid');
});
