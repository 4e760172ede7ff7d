/** The fault campaigns in their quick form; in full they are `npm run faults -- CAMPAIGN`. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { programTest } from '../skips.ts';

const FAULTS = fileURLToPath(new URL('../faults/main.ts', import.meta.url));
const BOUND_MS = 120_000;

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Of its own, to see that nothing is left in it. */
let temporary: string;

beforeEach(() => {
  temporary = mkdtempSync(join(tmpdir(), 'faults-quick-'));
});
afterEach(() => {
  expect(readdirSync(temporary)).toEqual([]);
  rmSync(temporary, { recursive: true });
});

function runFaults(...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [FAULTS, ...args], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, ...said }));
  });
}

async function campaign(name: string, ...args: readonly string[]) {
  const { code, stdout, stderr } = await runFaults(name, '--json', ...args);
  expect(stdout, stderr).not.toBe('');
  const report = JSON.parse(stdout) as {
    readonly counts: Record<string, number>;
    readonly lies: unknown[];
    readonly breaches: unknown[];
  };
  return { code, ...report };
}

test(
  'I1, I2: three times kill -9 under load: nothing acknowledged is lost, nothing is doubled',
  async () => {
    const { code, counts, lies, breaches } = await campaign(
      'kill9',
      '--cycles',
      '3',
      '--seed',
      '7',
    );
    expect({ code, lies, breaches }).toEqual({ code: 0, lies: [], breaches: [] });
    expect(counts['cycles']).toBe(3);
    expect(counts['acknowledged']).toBeGreaterThan(20);
    expect(counts['asked again']).toBeGreaterThan(0);
  },
  BOUND_MS,
);

programTest('strace')(
  'I1: an fsync that fails in a commit: outcome unknown, an end by itself, one answer afterwards',
  async () => {
    const args = '--from 12 --cycles 1 --seed 7'.split(' ');
    const { code, counts, lies, breaches } = await campaign('fsync-error', ...args);
    expect({ code, lies, breaches }).toEqual({ code: 0, lies: [], breaches: [] });
    expect(counts['stopped by itself']).toBe(1);
    expect(counts['of them told outcome_unknown']).toBeGreaterThan(0);
  },
  BOUND_MS,
);

programTest('faketime')(
  'I6, I7: an owner that is paused past its lease, and one whose answers are late: one owner at a time',
  async () => {
    const { code, counts, lies, breaches } = await campaign('ownership', '--cycles', '2');
    expect({ code, lies, breaches }).toEqual({ code: 0, lies: [], breaches: [] });
    expect(counts['owners']).toBeGreaterThan(1);
    expect(counts['of them sent late on purpose']).toBeGreaterThan(0);
    expect(counts['writes taken']).toBeGreaterThan(20);
  },
  BOUND_MS,
);

test(
  'I1, I11, I12: control killed behind a half-open wire, the sidecar while nothing comes up: both have one book',
  async () => {
    const args = '--from 4 --cycles 2 --seed 20'.split(' ');
    const { code, counts, lies, breaches } = await campaign('network', ...args);
    expect({ code, lies, breaches }).toEqual({ code: 0, lies: [], breaches: [] });
    expect(counts).toMatchObject({
      cycles: 2,
      'half-open': 1,
      'kill -9 of control': 1,
      'cut on the way up': 1,
      'kill -9 of a sidecar': 1,
      'revisions published': 1,
    });
    expect(counts['wire: halfOpened']).toBeGreaterThan(0);
    expect(counts['wire: droppedUp']).toBeGreaterThan(0);
    expect(counts['asked again']).toBeGreaterThan(0);
    // An outage that ends is an entry too, after the last that were walked.
    expect(counts['entries that control holds']).toBeGreaterThanOrEqual(
      Number(counts['entries walked']),
    );
    expect(counts['operations compared with control']).toBeGreaterThan(20);
  },
  BOUND_MS,
);

test('wrong arguments end with 2 and the help, --help with 0', async () => {
  expect(await runFaults('--help')).toMatchObject({ code: 0, stderr: '' });
  for (const args of [[], ['nonsense'], ['kill9', '--cycles', 'many'], ['kill9', '--nonsense']]) {
    const { code, stderr } = await runFaults(...args);
    expect(code, stderr).toBe(2);
    expect(stderr).toContain('npm run faults -- CAMPAIGN');
  }
});
