/** `holdfast health`: one screen for both planes, and its exit code. */
import { afterEach, describe, expect, test } from 'vitest';
import { runCommand } from '../../../control/cli/program.ts';
import { openStandIn, problem, type Answer, type StandIn } from '../../fakes/http-stand-in.ts';

let standIn: StandIn | undefined;
afterEach(async () => {
  await standIn?.close();
  standIn = undefined;
});

type Verdict = 'ok' | 'impaired' | 'down' | 'unknown';

const part = (over: object = {}) => ({
  state: 'ok',
  detail: 'fine',
  sinceMs: 0,
  lastSuccessMs: 0,
  lastError: null,
  lastErrorMs: null,
  count: 0,
  oldestAtMs: null,
  hosts: [],
  hostsOmitted: 0,
  ...over,
});
const plane = (verdict: Verdict, parts: object) => ({
  verdict,
  summary: `it is ${verdict}`,
  parts,
});
const health = (verdict: Verdict) => ({
  daemon: 'control',
  version: '0',
  atMs: 0,
  controlPlane: plane('ok', { sync: part() }),
  dataPlane: plane(verdict, { disk: part() }),
});
const fleet = (verdict: Verdict) => ({
  atMs: 0,
  hosts: { heard: 5, unheard: 1, enrolled: 2 },
  controlPlane: plane('ok', { scheduling: part() }),
  dataPlane: plane(verdict, {
    unknown: part({
      state: 'degraded',
      count: 9,
      oldestAtMs: 0,
      hosts: ['a', 'b', 'c', 'd'].map((hostName) => ({
        hostId: hostName,
        hostName,
        count: 2,
        oldestAtMs: null,
      })),
      hostsOmitted: 3,
    }),
  }),
});

async function run(answers: Readonly<Record<string, unknown>>, ...flags: string[]) {
  standIn = await openStandIn(({ path }): Answer => {
    const body = answers[path];
    return body === undefined ? problem('not_found') : { status: 200, body };
  });
  const written = { out: '', err: '' };
  const exitCode = await runCommand({
    argv: ['health', ...flags],
    env: { HOLDFAST_CONTROL_URL: standIn.url, HOLDFAST_SIDECAR_URL: standIn.url },
    cwd: '/',
    stdout: { write: (text) => (written.out += text) },
    stderr: { write: (text) => (written.err += text) },
  });
  return { exitCode, ...written };
}

describe('holdfast health', () => {
  test('shows both planes of each daemon and of the fleet, with counts, ages and hosts', async () => {
    const { exitCode, out } = await run({
      '/v1/health': health('ok'),
      '/v1/health/fleet': fleet('impaired'),
    });
    expect(exitCode).toBe(0);
    expect(out).toContain('fleet: 5 hosts heard, 1 not heard, 2 never synced');
    expect(out).toMatch(/fleet +data +impaired +it is impaired/);
    expect(out).toMatch(
      /data +unknown +degraded +9 +[0-9]+d\S* +[0-9]+d\S* +a=2 b=2 c=2 and 4 more/,
    );
  });

  test.each([
    ['ok', 0, 0],
    ['impaired', 0, 1],
    ['unknown', 0, 1],
    ['down', 1, 1],
  ] as const)('%s is exit code %i, and %i with --strict', async (verdict, plain, strict) => {
    const answers = { '/v1/health': health('ok'), '/v1/health/fleet': fleet(verdict) };
    expect((await run(answers)).exitCode).toBe(plain);
    await standIn?.close();
    expect((await run(answers, '--strict')).exitCode).toBe(strict);
    await standIn?.close();
    expect((await run({ '/v1/health': health(verdict) })).exitCode).toBe(plain);
  });

  test('a control that is too old to know of the fleet hides nothing else', async () => {
    const { exitCode, out } = await run({ '/v1/health': health('ok') }, '--strict');
    expect(exitCode).toBe(0);
    expect(out).not.toContain('fleet');
  });
});
