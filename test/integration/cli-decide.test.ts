/** `holdfast policy decide` and `holdfast config` against the real apps of both daemons. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from '../../control/cli/program.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { activePolicy } from '../fakes/fake-authority.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { APP_TOKEN, openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';

const DOCUMENT: PolicyDocument = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:billing': { roles: ['agent'] } },
  rules: [
    {
      name: 'capture',
      actions: ['payments.capture'],
      match: [{ expression: 'has(resource.attributes.region)' }],
      permit: [{ expression: 'attributes.amount <= 500', message: 'at most 500' }],
    },
  ],
  config: {
    'checkout.banner': { value: 'sale', maxStaleness: '1h', onExpiry: 'default', default: '' },
    'routing.weights': { value: { a: 1 }, maxStaleness: '1s', onExpiry: 'error' },
  },
};
const REQUEST = [
  '--principal',
  'agent:billing',
  '--action',
  'payments.capture',
  '--resource',
  'o-1',
  '--resource-attributes',
  '{"region":"eu"}',
  '--attributes',
  '{"amount":900}',
];

let cwd: string;
let control: ControlWorld;
let sidecar: TestSidecar;

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-decide-'));
  writeFileSync(join(cwd, 'policy.json'), JSON.stringify(DOCUMENT));
  control = await ControlWorld.create();
  await control.publish(DOCUMENT);
  sidecar = await openTestSidecar();
  await sidecar.app.listen({ port: 0, host: '127.0.0.1' });
});
afterAll(async () => {
  await sidecar.close();
  await control.dispose();
  rmSync(cwd, { recursive: true });
});
beforeEach(() => {
  sidecar.authority.active = activePolicy(DOCUMENT, 1);
  sidecar.authority.staleness = 100;
});

async function run(...argv: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const { port } = sidecar.app.server.address() as AddressInfo;
  const exitCode = await runCommand({
    argv,
    env: {
      HOLDFAST_CONTROL_URL: control.address,
      HOLDFAST_CONTROL_TOKEN: control.adminToken,
      HOLDFAST_SIDECAR_URL: `http://127.0.0.1:${port}`,
      HOLDFAST_SIDECAR_TOKEN: APP_TOKEN,
    },
    cwd,
    stdout: { write: (text) => (written.out += text) },
    stderr: { write: (text) => (written.err += text) },
  });
  return { exitCode, ...written };
}

describe('policy decide', () => {
  test('offline, from control and from the sidecar: one decision, one trace', async () => {
    const traced = async (...where: string[]): Promise<Record<string, unknown>> => {
      const { exitCode, out } = await run(
        'policy',
        'decide',
        ...REQUEST,
        '--explain',
        '-o',
        'json',
        ...where,
      );
      expect(exitCode).toBe(0);
      return JSON.parse(out) as Record<string, unknown>;
    };
    const offline = await traced('--file', 'policy.json');
    expect(offline).toMatchObject({ decision: 'deny', rule: 'capture', message: 'at most 500' });
    for (const where of [
      ['--from', 'control'],
      ['--from', 'sidecar'],
      ['--revision', '1'],
    ]) {
      const { trace, decision } = await traced(...where);
      expect({ trace, decision }).toEqual({ trace: offline['trace'], decision: 'deny' });
    }
  });

  test('for people: the decision, then every rule and expression', async () => {
    const { out } = await run('policy', 'decide', ...REQUEST, '--explain');
    expect(out).toMatch(/decision: +deny/);
    expect(out).toMatch(/admission: +would be refused: denied/);
    expect(out).toContain('decided by capture (/rules/0)');
    expect(out).toMatch(/match +true +has\(resource\.attributes\.region\)/);
    expect(out).toMatch(/permit +false +attributes\.amount <= 500 +\(at most 500\)/);
  });

  test.each([
    [['--attributes', 'amount=5'], 'is not a JSON object'],
    [['--resource-attributes', '{"a":1}'], 'needs --resource'],
    [['--file', 'policy.json', '--revision', '3'], 'either --file or --revision'],
  ])('usage: %j', async (flags, said) => {
    const base = ['--principal', 'agent:billing', '--action', 'payments.capture'];
    const { exitCode, err } = await run('policy', 'decide', ...base, ...flags);
    expect([exitCode, err]).toEqual([2, expect.stringContaining(said)]);
  });

  test('usage: a principal that is none; and a file that does not validate', async () => {
    const wrong = await run('policy', 'decide', '--principal', 'billing', '--action', 'a.b');
    expect([wrong.exitCode, wrong.err]).toEqual([2, expect.stringContaining('/principal')]);
    writeFileSync(join(cwd, 'bad.json'), JSON.stringify({ ...DOCUMENT, rules: [] }));
    const bad = await run('policy', 'decide', ...REQUEST, '--file', 'bad.json');
    expect([bad.exitCode, bad.err]).toEqual([1, expect.stringContaining('policy_invalid')]);
  });
});

describe('config', () => {
  test('get prints a value with its age and end, and --value the value alone', async () => {
    const { out } = await run('config', 'get', 'checkout.banner');
    expect(out).toMatch(/value: +"sale"/);
    expect(out).toMatch(/staleness: +100ms of 1h/);
    expect((await run('config', 'get', 'checkout.banner', '--value')).out).toBe('"sale"\n');
  });

  test('I5: one that is expired is never printed as if it were good', async () => {
    sidecar.authority.staleness = 7_200_000;
    expect((await run('config', 'get', 'checkout.banner')).out).toMatch(/state: +expired/);
    const alone = await run('config', 'get', 'checkout.banner', '--value');
    expect([alone.exitCode, alone.out]).toEqual([6, '']);
    const withheld = await run('config', 'get', 'routing.weights');
    expect([withheld.exitCode, withheld.err]).toEqual([
      6,
      expect.stringContaining('config_expired'),
    ]);
  });

  test('list shows all of them; one that is not there is 3', async () => {
    const { out } = await run('config', 'list');
    expect(out).toMatch(/checkout\.banner +"sale" +holds/);
    expect((await run('config', 'get', 'checkout.baner')).exitCode).toBe(3);
  });
});
