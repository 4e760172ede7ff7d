import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from '../../../control/cli/program.ts';
import { checkPolicy } from '../../../shared/platform/policy-gate.ts';
import { openStandIn, problem, type Answer, type StandIn } from '../../fakes/http-stand-in.ts';

let cwd: string;
let standIn: StandIn | undefined;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-'));
});

afterEach(async () => {
  await standIn?.close();
  standIn = undefined;
  rmSync(cwd, { recursive: true });
});

async function run(...argv: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const env =
    standIn === undefined
      ? {}
      : { HOLDFAST_CONTROL_URL: standIn.url, HOLDFAST_SIDECAR_URL: standIn.url };
  const exitCode = await runCommand({
    argv,
    env,
    cwd,
    stdout: { write: (text) => (written.out += text) },
    stderr: { write: (text) => (written.err += text) },
  });
  return { exitCode, ...written };
}

async function answering(answers: Readonly<Record<string, Answer>>): Promise<void> {
  standIn = await openStandIn(
    ({ method, path }) => answers[`${method} ${path.split('?')[0]}`] ?? problem('not_found'),
  );
}

const LEASE = {
  resource: 'orders/7',
  state: 'held',
  epoch: 3,
  remainingMs: 9_500,
  reason: null,
  holder: null,
};

describe('usage', () => {
  test('help is asked for: it is data, and no failure', async () => {
    const { exitCode, out, err } = await run('--help');
    expect(exitCode).toBe(0);
    expect(out).toContain('Usage: holdfast');
    expect(err).toBe('');
  });

  test('nothing to do: help on standard error, and 2', async () => {
    const { exitCode, out, err } = await run();
    expect(exitCode).toBe(2);
    expect(out).toBe('');
    expect(err).toContain('Usage: holdfast');
  });

  test.each([
    [['stat'], 'Did you mean status?'],
    [['refusals', '--help'], 'Did you mean refusal?'],
    [['op', 'lst', '--help'], 'Did you mean list?'],
    [['status', '--timeout', '0s'], '--timeout 0'],
    [['lease', 'acquire', ''], '<resource> is empty'],
    [['op', 'list', '--stat', 'unknown'], 'Did you mean --state?'],
    [['op', 'list', '--state', 'done'], 'Allowed choices are awaiting_approval, accepted'],
    [['op', 'list', '--limit', '0'], 'whole number from 1'],
    [['op', 'resolve', 'op_1', '--outcome', 'failed'], '--reason'],
    [['status', '--timeout', 'soon'], 'is not a duration'],
    [['dev', '--control-port', '70000'], 'must be a port'],
    [['-o', 'xml', 'status'], 'Allowed choices are table'],
  ])('%j is 2, and names the way out', async (argv, text) => {
    const { exitCode, out, err } = await run(...argv);
    expect(exitCode).toBe(2);
    expect(out).toBe('');
    expect(err).toContain('error: ');
    expect(err).toContain(text);
    expect(err).toContain('(usage)');
  });

  test('every command describes itself', async () => {
    for (const group of [
      'policy',
      'op',
      'lease',
      'placement',
      'host',
      'outage',
      'operator',
      'audit',
      'refusal',
      'dev',
    ]) {
      expect((await run(group, '--help')).exitCode, group).toBe(0);
    }
  });
});

describe('global flags', () => {
  test('stand before or after the command', async () => {
    await answering({ 'GET /v1/leases': { status: 200, body: { items: [LEASE] } } });

    expect((await run('-o', 'name', 'lease', 'list')).out).toBe('orders/7\n');
    expect((await run('lease', 'list', '-o', 'name')).out).toBe('orders/7\n');
  });
});

describe('lists', () => {
  test('go over as many pages as --limit asks for', async () => {
    let page = 0;
    standIn = await openStandIn(() => {
      page += 1;
      const items = Array.from({ length: page === 1 ? 500 : 100 }, (_, index) => ({
        seq: page * 1_000 + index,
        atMs: 0,
        actor: 'ann',
        action: 'policy.published',
        target: '1',
        detail: {},
        previousHash: '',
        hash: 'f'.repeat(64),
      }));
      return { status: 200, body: { items, nextCursor: `c${page}` } };
    });

    const { exitCode, out, err } = await run('audit', 'list', '--limit', '600', '-o', 'name');

    expect(exitCode).toBe(0);
    expect(out.trim().split('\n')).toHaveLength(600);
    expect(err).toContain('--cursor c2');
    expect(standIn.asked.map(({ path }) => path)).toEqual([
      '/v1/audit?limit=500',
      '/v1/audit?limit=100&cursor=c1',
    ]);
  });
});

describe('policy apply', () => {
  const published = {
    policyRevision: 4,
    policyDigest: 'a'.repeat(64),
    rules: 2,
    publishedAtMs: 0,
    publishedBy: 'ann',
    comment: null,
  };

  beforeEach(() => {
    writeFileSync(join(cwd, 'policy.yaml'), 'kind: Policy\n');
  });

  test('replaces what it found in force', async () => {
    await answering({
      'GET /v1/policy': { status: 200, body: { ...published, policyRevision: 3, policy: {} } },
      'PUT /v1/policy': { status: 200, body: { ...published, outcome: 'published' } },
    });

    const { exitCode, out } = await run('policy', 'apply', 'policy.yaml', '--comment', 'why');

    expect(exitCode).toBe(0);
    expect(out).toBe('policy revision 4 published (2 rules, digest aaaaaaaaaaaa)\n');
    expect(standIn?.asked.at(-1)?.headers).toMatchObject({
      'if-match': '"3"',
      'holdfast-comment': 'why',
    });
  });

  test('is the first where nothing is in force', async () => {
    await answering({
      'GET /v1/policy': problem('not_found'),
      'PUT /v1/policy': {
        status: 200,
        body: { ...published, policyRevision: 1, outcome: 'published' },
      },
    });

    expect((await run('policy', 'apply', 'policy.yaml')).exitCode).toBe(0);
    expect(standIn?.asked.at(-1)?.headers['if-none-match']).toBe('*');
  });

  test.each([
    ['größer als Москва', "UTF-8''gr%C3%B6%C3%9Fer%20als%20%D0%9C%D0%BE%D1%81%D0%BA%D0%B2%D0%B0"],
    ["UTF-8''x", "UTF-8''UTF-8''x"],
    ['100%25', '100%25'],
  ])('the comment %j goes as ASCII', async (comment, header) => {
    await answering({
      'GET /v1/policy': problem('not_found'),
      'PUT /v1/policy': { status: 200, body: { ...published, outcome: 'published' } },
    });

    expect((await run('policy', 'apply', 'policy.yaml', '--comment', comment)).exitCode).toBe(0);
    expect(standIn?.asked.at(-1)?.headers['holdfast-comment']).toBe(header);
  });

  test('an empty document is told to be empty, before control is asked', async () => {
    writeFileSync(join(cwd, 'policy.yaml'), ' \n');
    for (const command of ['apply', 'validate']) {
      const { exitCode, err } = await run('policy', command, 'policy.yaml');
      expect([exitCode, err]).toEqual([
        1,
        expect.stringContaining('policy.yaml: the document is empty'),
      ]);
    }
  });

  test('a conflict is 5, and says how to go on', async () => {
    await answering({ 'PUT /v1/policy': problem('revision_conflict') });

    const { exitCode, err } = await run('policy', 'apply', 'policy.yaml', '--if-revision', '2');

    expect(exitCode).toBe(5);
    expect(err).toContain('(revision_conflict)');
    expect(err).toContain('holdfast policy get');
  });

  test('a document that does not validate shows every place', async () => {
    const errors = [{ path: '/rules/0/permit/0/expression', message: 'found no such overload' }];
    await answering({
      'GET /v1/policy': problem('not_found'),
      'PUT /v1/policy': problem('policy_invalid', { errors }),
    });

    const { exitCode, err } = await run('policy', 'apply', 'policy.yaml');

    expect(exitCode).toBe(1);
    expect(err).toContain('  /rules/0/permit/0/expression: found no such overload\n');
    expect(err).toContain('hint: ');
  });
});

describe('policy validate', () => {
  test('works offline, and shows each place', async () => {
    writeFileSync(
      join(cwd, 'policy.yaml'),
      'apiVersion: holdfast/v1\nkind: Policy\nprincipals: {}\nrules: []\nextra: 1\n',
    );

    const { exitCode, err } = await run('policy', 'validate', 'policy.yaml');

    expect(exitCode).toBe(1);
    expect(err).toMatch(/^ {2}policy\.yaml:4:1: \/rules: /m);
    expect(err).toMatch(/^ {2}policy\.yaml:5:1: \/extra: unknown field/m);
  });

  test('the sample policy passes, with its own tests', async () => {
    const { exitCode, out } = await run(
      'policy',
      'validate',
      join(import.meta.dirname, '../../../deploy/examples/policy.yaml'),
    );

    expect(exitCode).toBe(0);
    expect(out).toMatch(/rules: 4, tests passed: \d\d/);
  });
});

test('what policy get prints, policy apply takes', async () => {
  const policy = {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:a': { roles: ['agent'] } },
    rules: [{ name: 'one', actions: ['a.b'], permit: [{ expression: 'true' }] }],
  };
  const body = {
    policyRevision: 3,
    policyDigest: 'a',
    publishedAtMs: 0,
    publishedBy: 'ann',
    comment: null,
    rules: 1,
    policy,
  };
  await answering({ 'GET /v1/policy': { status: 200, body } });

  for (const format of ['table', 'yaml']) {
    const { out, err } = await run('policy', 'get', '-o', format);
    expect(checkPolicy(out, 'yaml')).toMatchObject({ ok: true, document: policy });
    expect(err).toContain('revision 3');
  }
});

describe('lease acquire', () => {
  test('prints what is held', async () => {
    await answering({ 'POST /v1/leases/orders%2F7:acquire': { status: 200, body: LEASE } });

    const { exitCode, out } = await run('lease', 'acquire', 'orders/7', '--wait', '1s');

    expect(exitCode).toBe(0);
    expect(out).toContain('orders/7   held    3       9s');
    expect(standIn?.asked[0]?.path).toBe('/v1/leases/orders%2F7:acquire?wait=1000ms');
  });

  test('is 6 where somebody else has it, and names them', async () => {
    const body = { ...LEASE, state: 'wanted', epoch: null, reason: 'held', holder: 'host-b' };
    await answering({ 'POST /v1/leases/orders%2F7:acquire': { status: 200, body } });

    const { exitCode, err } = await run('lease', 'acquire', 'orders/7');

    expect(exitCode).toBe(6);
    expect(err).toContain('held; host-b has it');
  });
});

describe('lease transfer', () => {
  const lease = {
    resource: 'orders/7',
    epoch: 3,
    state: 'held',
    holder: 'host_a',
    holderName: 'a',
    grantedAtMs: 1,
    renewedAtMs: 1,
    remainingMs: 9_500,
    transitions: 0,
    handover: {
      mode: 'drain',
      toHostId: 'host_b',
      toHostName: 'b',
      by: 'operator:ann',
      reason: null,
      sinceMs: 1,
      remainingMs: 60_000,
      onTimeout: 'give_up',
      unfinished: 2,
    },
  };
  const transfer = { 'POST /v1/leases/orders%2F7:transfer': { status: 202, body: lease } };
  const show = (body: object) => ({ 'GET /v1/leases/orders%2F7': { status: 200, body } });

  test('it says what is going on, and waits where that is asked for', async () => {
    const done = { ...lease, epoch: 4, holder: 'host_b', holderName: 'b', handover: null };
    await answering({ ...transfer, ...show(done) });
    const ordered = await run('lease', 'transfer', 'orders/7', '--to', 'b');
    expect([ordered.exitCode, ordered.out]).toEqual([
      0,
      'orders/7 is being drained by a for b, 2 operations left\n',
    ]);
    const waited = await run('lease', 'transfer', 'orders/7', '--to', 'b', '--wait');
    expect([waited.exitCode, waited.err]).toEqual([
      0,
      expect.stringContaining('2 operations left'),
    ]);
    expect(waited.out).toContain('orders/7   held    4       b');
  });

  test('given up while one waits it is 6, and says so', async () => {
    await answering({ ...transfer, ...show({ ...lease, handover: null }) });
    const { exitCode, err } = await run('lease', 'transfer', 'orders/7', '--to', 'b', '--wait');
    expect([exitCode, err]).toEqual([6, expect.stringContaining('it was given up')]);
  });
});

describe('placement', () => {
  test('a group is applied on the revision that is there, and a file that is none says so', async () => {
    const body = { name: 'orders', revision: 4, spec: {}, updatedAtMs: 1, updatedBy: 'ann' };
    await answering({
      'GET /v1/placement/groups/orders': { status: 200, body: { ...body, revision: 3 } },
      'PUT /v1/placement/groups/orders': { status: 200, body },
    });
    writeFileSync(join(cwd, 'g.yaml'), 'name: orders\nshards: 64\nresource: orders/{shard}\n');
    const applied = await run('placement', 'group', 'apply', 'g.yaml');
    expect([applied.exitCode, applied.out]).toEqual([0, 'group orders is at revision 4\n']);
    expect(standIn?.asked.at(-1)?.headers['if-match']).toBe('"3"');
    writeFileSync(join(cwd, 'bad.yaml'), 'shards: 64\n');
    const bad = await run('placement', 'group', 'apply', 'bad.yaml');
    expect([bad.exitCode, bad.err]).toEqual([1, expect.stringContaining('write name, shards')]);
  });

  test('host label sets and removes, and keeps the others', async () => {
    const settings = {
      hostId: 'h',
      hostName: 'a',
      labels: { zone: 'x', disk: 'ssd' },
      effectiveLabels: { zone: 'x', disk: 'ssd', canary: 'true' },
      drain: null,
    };
    await answering({
      'GET /v1/hosts/a/settings': { status: 200, body: settings },
      'PUT /v1/hosts/a/labels': { status: 200, body: settings },
    });
    expect((await run('host', 'label', 'a', 'zone-', 'cores=8')).exitCode).toBe(0);
    expect(JSON.parse(standIn?.asked.at(-1)?.body ?? '')).toEqual({ disk: 'ssd', cores: '8' });
    for (const wrong of ['zone', 'Zone=a', 'zone=', 'zone=a=b']) {
      const refused = await run('host', 'label', 'a', wrong);
      expect([refused.exitCode, refused.err]).toEqual([
        2,
        expect.stringContaining(`${wrong} is no label`),
      ]);
    }
    expect((await run('host', 'settings', 'a')).out).toContain('zone=x,disk=ssd,canary=true');
  });
});

test('lease release of what the sidecar does not have is 3, and releases nothing', async () => {
  await answering({ 'GET /v1/leases': { status: 200, body: { items: [LEASE] } } });

  const { exitCode, err } = await run('lease', 'release', 'orders/8');

  expect(exitCode).toBe(3);
  expect(err).toContain('neither holds nor wants a lease of orders/8');
  expect(standIn?.asked.map(({ method }) => method)).toEqual(['GET']);
});

describe('dev refuses before anything is made', () => {
  test('a policy that is not there', async () => {
    const { exitCode, err } = await run('dev', '--policy', 'nope.yaml');
    expect([exitCode, err]).toEqual([1, expect.stringContaining('cannot read ')]);
    expect(existsSync(join(cwd, '.holdfast'))).toBe(false);
  });

  test('a data directory that is a file', async () => {
    writeFileSync(join(cwd, 'file'), '');
    const { exitCode, err } = await run('dev', '--data-dir', 'file');
    expect([exitCode, err]).toEqual([2, expect.stringContaining('it is not a directory')]);
    expect(err).not.toContain('    at ');
  });
});

describe('with nobody there', () => {
  beforeEach(async () => {
    standIn = await openStandIn(() => 'silence');
    await standIn.close();
  });

  test('status says what is unreachable, and fails where nothing could be asked', async () => {
    const { exitCode, out } = await run('status');
    expect(exitCode).toBe(6);
    expect(out.match(/state: +unreachable/g)).toHaveLength(2);
  });

  test('status says so to programs as well', async () => {
    const { out } = await run('status', '-o', 'json');
    expect(JSON.parse(out)).toMatchObject({
      control: { error: { code: 'unreachable' } },
      sidecar: { error: { code: 'unreachable' } },
    });
  });

  test('health fails with 6', async () => {
    const { exitCode, out, err } = await run('health');
    expect(exitCode).toBe(6);
    expect(out).toContain('unreachable');
    expect(err).toContain('(unreachable)');
  });

  test('healthcheck fails with 1, as containers expect', async () => {
    expect((await run('healthcheck', '--url', `${standIn?.url}/readyz`)).exitCode).toBe(1);
  });

  test('errors are one JSON object under -o json', async () => {
    const { exitCode, out, err } = await run('op', 'list', '-o', 'json');
    expect(exitCode).toBe(6);
    expect(out).toBe('');
    expect(JSON.parse(err)).toMatchObject({ code: 'unreachable', retryable: true, exitCode: 6 });
  });
});

test('healthcheck is silent when all is well', async () => {
  await answering({
    'GET /readyz': { status: 200, body: { status: 'ok' } },
    'GET /livez': { status: 503, body: {} },
  });

  expect(await run('healthcheck', '--url', `${standIn?.url}/readyz`)).toEqual({
    exitCode: 0,
    out: '',
    err: '',
  });
  expect((await run('healthcheck', '--url', `${standIn?.url}/livez`)).exitCode).toBe(1);
});

describe('completion', () => {
  test.each([
    [[''], 'status'],
    [['op', ''], 'resolve'],
    [['op', 'list', '--st'], '--state'],
    [['op', 'list', '--state', 'u'], 'unknown'],
    [['status', '-o', ''], 'yaml'],
    [['dev', 'kill', ''], 'sidecar'],
    [['completion', 'b'], 'bash'],
  ])('%j offers %s', async (words, candidate) => {
    expect((await run('complete', '--', ...words)).out.split('\n')).toContain(candidate);
  });

  test.each(['bash', 'zsh', 'fish'])('there is a script for %s', async (shell) => {
    expect((await run('completion', shell)).out).toContain('holdfast complete --');
  });
});
