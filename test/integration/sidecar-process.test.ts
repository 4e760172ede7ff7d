/** The sidecar as a process: what it says, and with which exit code, where it cannot or may not start. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../shared/platform/clock.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { lockDirectory } from '../../shared/platform/directory-lock.ts';
import { bareEnvironment } from '../fakes/bare-environment.ts';

const MAIN = fileURLToPath(new URL('../../dataplane/main.ts', import.meta.url));
const TOKEN = 'a-token-of-at-least-16';
/** Well formed; no control that knows it is asked in these tests. */
const JOIN_TOKEN = `hfj1.join_0123456789abcdefghjkmnpqrs.${'s'.repeat(43)}.${'t'.repeat(43)}`;

let directory: string;
let appsFile: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sidecar-process-'));
  appsFile = join(directory, 'apps.yaml');
  writeFileSync(appsFile, `apps: [{name: demo, token: ${TOKEN}, principals: ['*']}]\n`, {
    mode: 0o600,
  });
});
afterEach(() => rmSync(directory, { recursive: true }));

type Ended = { readonly code: number | null; readonly stderr: string; readonly stdout: string };

/** Runs until it ends by itself: each of these cases must. */
async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...bareEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => (output.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output.stderr += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, ...output };
}

const standard = (listen = '127.0.0.1:0'): string[] => [
  '--data-dir',
  join(directory, 'data'),
  '--listen',
  listen,
  '--apps-file',
  appsFile,
  '--host-name',
  'h1',
];

describe('wrong configuration ends with exit code 2, all problems at once', () => {
  test('an unknown flag, an unknown variable and an unknown key, each with the likely one', async () => {
    const file = join(directory, 'sidecar.yaml');
    writeFileSync(file, 'synchInterval: 5s\n');
    const { code, stderr } = await run([...standard(), '--config', file, '--data-dirr', 'x'], {
      HOLDFAST_SYNC_INTERVALL: '5s',
    });
    expect(code).toBe(2);
    expect(stderr).toContain('unknown flag --data-dirr; did you mean --data-dir?');
    expect(stderr).toContain('HOLDFAST_SYNC_INTERVALL; did you mean HOLDFAST_SYNC_INTERVAL?');
    expect(stderr).toContain(`unknown key synchInterval in ${file}; did you mean syncInterval?`);
  });

  test('arithmetic and addresses that cannot work', async () => {
    const { code, stderr } = await run(['--listen', '0.0.0.0:7490', '--sync-interval', '10ms']);
    expect(code).toBe(2);
    expect(stderr).toContain('0.0.0.0:7490 is not a loopback address');
    expect(stderr).toContain('syncInterval 10ms is too short');
    expect(stderr).toContain('appsFile is required');
  });

  test('--help lists every flag and variable with its default, and ends with 0', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--sync-interval  HOLDFAST_SYNC_INTERVAL');
    expect(stdout).toContain('(default "5s")');
  });

  test('variables that Kubernetes injects for a service of this name are none of ours', async () => {
    const { code, stdout } = await run(['--help'], {
      HOLDFAST_CONTROL_SERVICE_HOST: '10.0.0.1',
      HOLDFAST_CONTROL_PORT_7480_TCP_ADDR: '10.0.0.1',
    });
    expect([code, stdout.length > 0]).toEqual([0, true]);
    const started = await run(['--listen', 'nonsense', '--app-auth', 'off'], {
      HOLDFAST_CONTROL_SERVICE_HOST: '10.0.0.1',
    });
    expect(started.stderr).not.toContain('SERVICE_HOST');
  });
});

describe('what it cannot use ends with exit code 3 and one line that says the way out', () => {
  test('a port in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const tokenFile = join(directory, 'join.token');
    writeFileSync(tokenFile, JOIN_TOKEN);
    const { code, stderr } = await run([
      ...standard(`127.0.0.1:${port}`),
      '--join-token-file',
      tokenFile,
    ]);
    server.close();
    expect(code).toBe(3);
    expect(stderr).toContain(`127.0.0.1:${port} is in use`);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('a data directory that cannot be made', async () => {
    writeFileSync(join(directory, 'data'), 'a file where the directory should be');
    const { code, stderr } = await run(standard());
    expect(code).toBe(3);
    expect(stderr).toContain('choose another with --data-dir');
  });

  test('what the operating system refuses is said in one line, without a stack trace', async () => {
    mkdirSync(join(directory, 'data/journal/journal.head'), { recursive: true });
    const { code, stderr } = await run(standard());
    expect(code).toBe(3);
    expect(stderr).toContain('cannot start: EISDIR');
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('a journal of a newer schema is refused, and left as it is', async () => {
    mkdirSync(join(directory, 'data'));
    await (await openJournal(join(directory, 'data/journal'), new SystemClock())).close();
    const path = join(directory, 'data/journal/journal.db');
    const database = new DatabaseSync(path);
    database.exec("INSERT INTO schema_migrations VALUES (99, 'from the future', 'x')");
    database.close();
    const { code, stderr } = await run(standard());
    expect(code).toBe(3);
    expect(stderr).toContain('schema version 99');
    expect(stderr).toContain('run the newer program');
  });

  test('a first start without a join token, and one with a token that is none', async () => {
    const without = await run(standard());
    expect(without.code).toBe(3);
    expect(without.stderr).toContain('holdfast host join-token h1');
    const tokenFile = join(directory, 'join.token');
    writeFileSync(tokenFile, 'nonsense\n');
    const nonsense = await run([...standard(), '--join-token-file', tokenFile]);
    expect(nonsense.code).toBe(3);
    expect(nonsense.stderr).toContain('join-token');
  });

  test('an apps file that everybody can read, or that is wrong', async () => {
    writeFileSync(appsFile, 'apps: [{name: demo}]\n');
    const { code, stderr } = await run(standard());
    expect(code).toBe(3);
    expect(stderr).toContain(appsFile);
  });
});

test('a second sidecar on the same data directory does not start, and harms nothing', async () => {
  const lock = lockDirectory(join(directory, 'data'));
  try {
    const { code, stderr } = await run(standard());
    expect(code).toBe(3);
    expect(stderr).toContain(`another process uses ${join(directory, 'data')}`);
  } finally {
    lock.release();
  }
  expect((await run(standard())).stderr).toContain('join token');
});
