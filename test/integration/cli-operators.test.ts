/** The command against a real control: what operators do, and how it goes wrong. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DaemonProcess } from '../../control/cli/dev/daemon-process.ts';
import { claimPort } from '../../control/cli/dev/free-port.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { REPOSITORY_ROOT } from '../tidy/source-tree.ts';
import { runHoldfast, type Finished } from './cli-processes.ts';

const SAMPLE = join(REPOSITORY_ROOT, 'deploy', 'examples', 'policy.yaml');

let cwd: string;
let control: DaemonProcess;

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  const port = await claimPort(0, { flag: '--control-port' });
  control = new DaemonProcess({
    name: 'control',
    url: `http://127.0.0.1:${port}`,
    env: {
      HOLDFAST_DATA_DIR: join(cwd, 'control'),
      HOLDFAST_LISTEN: `127.0.0.1:${port}`,
      HOLDFAST_LOG_LEVEL: 'warn',
    },
    clock: new SystemClock(),
    onLine: () => {},
    onEnd: () => {},
  });
  control.start();
  await control.untilReady();
});

afterAll(async () => {
  await control.stop();
  rmSync(cwd, { recursive: true });
});

function holdfast(...argv: string[]): Promise<Finished> {
  return runHoldfast(
    cwd,
    '--control',
    control.url,
    '--control-token-file',
    join(cwd, 'control', 'admin.token'),
    ...argv,
  );
}

function file(name: string, text: string): string {
  writeFileSync(join(cwd, name), text);
  return name;
}

describe('policy', () => {
  test('is checked, published, read back and listed', async () => {
    const dryRun = await holdfast('policy', 'apply', SAMPLE, '--dry-run');
    expect(dryRun).toMatchObject({
      exitCode: 0,
      out: expect.stringContaining('nothing published') as string,
    });
    expect((await holdfast('policy', 'get')).exitCode).toBe(3);

    expect((await holdfast('policy', 'apply', SAMPLE, '--comment', 'the first')).out).toContain(
      'policy revision 1 published',
    );
    expect((await holdfast('policy', 'apply', SAMPLE)).out).toContain('is this document already');

    const published = await holdfast('policy', 'get');
    const again = await holdfast('policy', 'apply', file('again.yaml', published.out));
    expect(again.out).toContain('policy revision 1 is this document already');

    const { out } = await holdfast('policy', 'history');
    expect(out.split('\n')[1]).toMatch(/^1 .* operator:admin .* the first$/);
  });

  test('that is wrong is refused with the place and the way out', async () => {
    const wrong = file(
      'wrong.yaml',
      'apiVersion: holdfast/v1\nkind: Policy\nprincipals: {}\nrules: []\n',
    );

    const { exitCode, err, out } = await holdfast('policy', 'apply', wrong);

    expect(exitCode).toBe(1);
    expect(out).toBe('');
    expect(err).toMatch(/^error: .*\(policy_invalid\)$/m);
    expect(err).toMatch(/^ {2}\/rules: /m);
    expect(err).toMatch(/^hint: .*holdfast policy validate/m);
  });

  test('says the same offline as control does', async () => {
    const wrong = file(
      'wrong.yaml',
      'apiVersion: holdfast/v1\nkind: Policy\nprincipals: {}\nrules: [{}]\nextra: 1\n',
    );
    // Only here they have a line and a column: control has no file.
    const places = ({ err }: Finished): string[] =>
      (err.match(/^ {2}.*$/gm) ?? []).map((line) =>
        line.replace(/^ {2}(wrong\.yaml:\d+:\d+: )?/, ''),
      );

    const offline = places(await holdfast('policy', 'validate', wrong));

    expect(offline.length).toBeGreaterThan(2);
    expect(places(await holdfast('policy', 'apply', wrong, '--if-revision', '0'))).toEqual(offline);
  });

  test('that replaces another revision than the one in force is a conflict', async () => {
    const { exitCode, err } = await holdfast('policy', 'apply', SAMPLE, '--if-revision', '41');

    expect(exitCode).toBe(5);
    expect(err).toContain('(revision_conflict)');
  });
});

describe('operators', () => {
  test('may do what their role allows, until they are removed', async () => {
    const added = await holdfast('operator', 'add', 'ann', '--role', 'viewer');
    const token = file('ann.token', added.out);
    const asAnn = (...argv: string[]): Promise<Finished> =>
      runHoldfast(cwd, '--control', control.url, '--control-token-file', token, ...argv);

    expect((await asAnn('host', 'list')).exitCode).toBe(0);
    const refused = await asAnn('host', 'join-token', 'web-1');
    expect(refused).toMatchObject({
      exitCode: 4,
      out: '',
      err: expect.stringContaining('(forbidden)') as string,
    });

    expect((await holdfast('operator', 'list', '-o', 'name')).out).toContain('ann\n');
    expect((await holdfast('operator', 'remove', 'ann')).exitCode).toBe(0);
    expect(await asAnn('host', 'list')).toMatchObject({
      exitCode: 4,
      err: expect.stringContaining('(unauthenticated)') as string,
    });
  });

  test('are in the audit trail with what they did', async () => {
    const { out, err } = await holdfast('audit', 'list', '-o', 'json', '--limit', '2');
    expect(err).toMatch(/^there are more audit entries: .*--cursor/);

    expect(JSON.parse(out)).toMatchObject({
      items: [
        { actor: 'operator:admin', action: 'operator.removed' },
        { action: 'operator.added' },
      ],
    });
  });
});

test('a join token is data by itself, so that it can be piped', async () => {
  const { exitCode, out, err } = await holdfast('host', 'join-token', 'web-1', '--ttl', '1m');

  expect(exitCode).toBe(0);
  expect(out).toMatch(/^hfj1\.\S+\n$/);
  expect(err).toContain('it is not shown again');
});

test('without a token the answer says how to give one', async () => {
  const { exitCode, err } = await runHoldfast(cwd, '--control', control.url, 'host', 'list');

  expect(exitCode).toBe(4);
  expect(err).toMatch(/^hint: .*--control-token-file/m);
});

test('what is not there is 3', async () => {
  expect((await holdfast('op', 'show', 'op_none', '--from', 'control')).exitCode).toBe(3);
  expect((await holdfast('host', 'show', 'host_none')).exitCode).toBe(3);
});

test('healthcheck is silent when control is well', async () => {
  expect(await runHoldfast(cwd, 'healthcheck', '--url', `${control.url}/livez`)).toEqual({
    exitCode: 0,
    out: '',
    err: '',
  });
});

describe('the journal of a sidecar on this host', () => {
  test('is what the program of the sidecar says of it, with its exit code', async () => {
    const none = join(cwd, 'no-sidecar');
    const fresh = await runHoldfast(cwd, 'journal', 'verify', '--data-dir', none, '--json');
    expect(fresh).toMatchObject({ exitCode: 0, out: '{"kind":"fresh"}\n' });
    const missing = await runHoldfast(cwd, 'journal', 'verify');
    expect(missing.exitCode).toBe(2);
    expect(missing.err).toContain('--data-dir is required');
    const help = await runHoldfast(cwd, 'journal', '--help');
    expect(help.exitCode).toBe(0);
    expect(help.out).toContain('holdfast journal <command>');
  });
});
