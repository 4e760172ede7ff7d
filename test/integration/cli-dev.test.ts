import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openSidecar, type Operation } from '../../shared/client/index.ts';
import { missingProgramNote } from '../reporting/missing-program.ts';
import { daemonsOf, DevTerminal, gone, isAlive, runHoldfast, runShell } from './cli-processes.ts';

const TIMEOUT_MS = 60_000;
const REQUEST = {
  principal: 'agent:notify',
  action: 'notifications.send',
  resource: { id: 'order-17' },
};

let cwd: string;
let terminals: DevTerminal[];

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-dev-'));
  terminals = [];
});

afterEach(async () => {
  await Promise.all(terminals.map((terminal) => terminal.clear()));
  rmSync(cwd, { recursive: true });
}, TIMEOUT_MS);

function dev(...argv: string[]): DevTerminal {
  const terminal = new DevTerminal(cwd, ...argv);
  terminals.push(terminal);
  return terminal;
}

async function admit(idempotencyKey: string): Promise<Operation> {
  const state = JSON.parse(readFileSync(join(cwd, '.holdfast', 'dev.json'), 'utf8')) as {
    sidecarUrl: string;
  };
  const token = readFileSync(join(cwd, '.holdfast', 'app.token'), 'utf8').trim();
  const sidecar = openSidecar({ endpoint: state.sidecarUrl, token });
  try {
    return (await sidecar.admit(REQUEST, { idempotencyKey, retryForMs: 10_000 })).operation;
  } finally {
    await sidecar.close();
  }
}

async function holdfastJson<T>(...argv: string[]): Promise<T> {
  const { exitCode, out, err } = await runHoldfast(cwd, ...argv, '-o', 'json');
  expect(err).toBe('');
  expect(exitCode).toBe(0);
  return JSON.parse(out) as T;
}

test(
  'everything that is printed to copy works, and so does a second terminal with nothing set',
  { timeout: TIMEOUT_MS },
  async ({ skip }) => {
    if ((await runShell(cwd, 'curl --version')).exitCode !== 0) skip(missingProgramNote('curl'));
    const terminal = dev();
    await terminal.ready();

    const curls = terminal.text.replaceAll('\\\n', '').match(/^ +curl .*$/gm) ?? [];
    expect(curls).toHaveLength(3);
    const answers: unknown[] = [];
    for (const curl of curls) answers.push(JSON.parse((await runShell(cwd, curl)).out));
    expect(answers).toMatchObject([
      { state: 'accepted', rule: 'send-notification', policyRevision: 1 },
      { items: [{ idempotencyKey: 'hello-1' }] },
      {
        policyRevision: 1,
        items: [{ rule: 'capture-payment' }, { rule: 'send-notification' }, {}, {}],
      },
    ]);

    const status = await holdfastJson<{ control: object; sidecar: object }>('status');
    expect(status.control).toMatchObject({ policy: { policyRevision: 1 } });
    expect(status.sidecar).toMatchObject({
      control: { state: 'connected' },
      policy: { activeRevision: 1 },
    });
  },
);

test(
  'one SIGINT stops both and leaves no process; the next start goes on with the same data',
  { timeout: TIMEOUT_MS },
  async () => {
    const first = dev();
    await first.ready();
    const { control, sidecar } = daemonsOf(first);
    const { operationId } = await admit('order-1');

    expect(await first.interrupt()).toEqual({ exitCode: 0, signal: null });
    expect([control, sidecar].map((pid) => isAlive(pid ?? -1))).toEqual([false, false]);
    expect(first.text).toContain('both daemons have stopped');

    const second = dev();
    await second.ready();
    expect(await admit('order-1')).toMatchObject({ operationId });
    expect((await holdfastJson<{ items: unknown[] }>('policy', 'history')).items).toHaveLength(1);
    expect((await holdfastJson<{ items: unknown[] }>('host', 'list')).items).toHaveLength(1);
  },
);

test('an outage can be played by hand from another terminal', { timeout: TIMEOUT_MS }, async () => {
  const terminal = dev();
  await terminal.ready();

  expect((await runHoldfast(cwd, 'dev', 'kill', 'control')).exitCode).toBe(0);
  await terminal.says(/control was killed from another terminal/);
  expect(daemonsOf(terminal).control).toBeUndefined();
  expect((await runHoldfast(cwd, 'status')).out).toMatch(/state: +unreachable/);
  expect((await admit('order-2')).state).toBe('accepted');

  const started = await runHoldfast(cwd, 'dev', 'start', 'control');
  expect(started).toMatchObject({ exitCode: 0, err: '' });
  expect(started.out).toContain('control is ready at http://127.0.0.1:');

  expect((await runHoldfast(cwd, 'dev', 'kill', 'sidecar')).exitCode).toBe(0);
  expect((await runHoldfast(cwd, 'dev', 'start', 'sidecar')).exitCode).toBe(0);
  expect((await admit('order-2')).state).toBe('accepted');
});

test('a daemon that dies is reported, and the other goes on', { timeout: TIMEOUT_MS }, async () => {
  const terminal = dev();
  await terminal.ready();

  process.kill(daemonsOf(terminal).control ?? 0, 'SIGKILL');

  await terminal.says(/control ended unexpectedly, by signal SIGKILL/);
  await terminal.says(/holdfast dev start control/);
  expect((await admit('order-3')).state).toBe('accepted');
  expect(await terminal.interrupt()).toEqual({ exitCode: 0, signal: null });
});

test(
  'a supervisor that is killed leaves no daemon behind, and does not stand in the way of the next',
  { timeout: TIMEOUT_MS },
  async () => {
    const first = dev();
    await first.ready();
    const { control, sidecar } = daemonsOf(first);

    first.signal('SIGKILL');
    await first.ended;
    await Promise.all([gone(control ?? 0), gone(sidecar ?? 0)]);

    const second = dev();
    await second.ready();
    expect(await second.interrupt()).toEqual({ exitCode: 0, signal: null });
  },
);

test('SIGINT while starting is a stop like any other', { timeout: TIMEOUT_MS }, async () => {
  const terminal = dev();
  await terminal.says(/control .*listening/);
  const { control } = daemonsOf(terminal);

  expect(await terminal.interrupt()).toEqual({ exitCode: 0, signal: null });
  expect(isAlive(control ?? -1)).toBe(false);
});

test(
  'a SIGINT that arrives twice at once, as under npx, is one',
  { timeout: TIMEOUT_MS },
  async () => {
    const terminal = dev();
    await terminal.ready();

    terminal.signal('SIGINT');
    terminal.signal('SIGTERM');

    expect(await terminal.ended).toEqual({ exitCode: 0, signal: null });
    expect(terminal.text).toContain('both daemons have stopped');
  },
);

test('raw logs are JSON lines and nothing else', { timeout: TIMEOUT_MS }, async () => {
  const terminal = dev('--logs', 'json');
  await terminal.ready();
  await terminal.interrupt();

  expect(terminal.outLines.length).toBeGreaterThan(2);
  for (const line of terminal.outLines) expect(JSON.parse(line)).toHaveProperty('daemon');
});

describe('refuses', () => {
  let taken: Server | undefined;

  afterEach(() => {
    taken?.close();
    taken = undefined;
  });

  test(
    'a port that is in use, and says which and the way out',
    { timeout: TIMEOUT_MS },
    async () => {
      const server = createServer();
      taken = server;
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;

      const terminal = dev('--sidecar-port', String(port));

      expect(await terminal.ended).toEqual({ exitCode: 1, signal: null });
      expect(terminal.text).toContain(
        `error: port ${port} is in use by another program (port_in_use)`,
      );
      expect(terminal.text).toContain('--sidecar-port');
    },
  );

  test('a second run on the same data', { timeout: TIMEOUT_MS }, async () => {
    await dev().ready();

    const second = dev();

    expect(await second.ended).toEqual({ exitCode: 5, signal: null });
    expect(second.text).toContain('already running');
  });

  test('to empty a directory that it did not make', { timeout: TIMEOUT_MS }, async () => {
    writeFileSync(join(cwd, 'letter.txt'), 'dear');

    const terminal = dev('--fresh', '--data-dir', '.');

    expect((await terminal.ended).exitCode).toBe(2);
    expect(readFileSync(join(cwd, 'letter.txt'), 'utf8')).toBe('dear');
  });

  test('to kill what does not run', { timeout: TIMEOUT_MS }, async () => {
    expect(await runHoldfast(cwd, 'dev', 'kill', 'control')).toMatchObject({
      exitCode: 6,
      err: expect.stringContaining('no holdfast dev is running') as string,
    });
  });
});

test(
  'data that do not belong together are told, and --fresh is the way out',
  { timeout: TIMEOUT_MS },
  async () => {
    const first = dev();
    await first.ready();
    await first.interrupt();
    rmSync(join(cwd, '.holdfast', 'control'), { recursive: true });

    const second = dev();
    expect((await second.ended).exitCode).toBe(1);
    expect(second.text).toContain('(sidecar_refused)');

    const third = dev('--fresh');
    await third.ready();
    expect(await third.interrupt()).toEqual({ exitCode: 0, signal: null });
  },
);

test(
  'a policy that does not start is told with its place, and nothing is left running',
  { timeout: TIMEOUT_MS },
  async () => {
    writeFileSync(
      join(cwd, 'bad.yaml'),
      'apiVersion: holdfast/v1\nkind: Policy\nprincipals: {}\nrules: []\n',
    );

    const terminal = dev('--policy', 'bad.yaml');

    expect((await terminal.ended).exitCode).toBe(1);
    expect(terminal.text).toMatch(/^ {2}\/rules: /m);
    expect(terminal.text).toContain('policy_invalid');
  },
);
