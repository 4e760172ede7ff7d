/** Failpoints: what arms them, what they count, and that an end at one is the last thing that happens. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  FAILPOINTS,
  parseFailpoints,
  type FailpointReport,
} from '../../../shared/platform/failpoints.ts';
import { readSourceTree } from '../../tidy/source-tree.ts';

const MODULE = new URL('../../../shared/platform/failpoints.ts', import.meta.url).href;
const PRELOAD = new URL('../../faults/campaigns/failpoints-preload.ts', import.meta.url).href;
const SIDECAR = new URL('../../../dataplane/main.ts', import.meta.url).pathname;

/** The main thread reaches one point twice, its worker another three times, with a line for each. */
const PROGRAM = `
  import { writeSync } from 'node:fs';
  import { Worker, isMainThread } from 'node:worker_threads';
  import { failpoint } from '${MODULE}';
  const reach = (name, subject) => { writeSync(1, name + ' '); failpoint(name, subject); };
  if (isMainThread) {
    for (let time = 0; time < 2; time += 1) reach('admission.before_submit');
    new Worker(new URL(import.meta.url)).once('exit', () => writeSync(1, 'end'));
  } else {
    for (let time = 0; time < 3; time += 1) reach('journal.after_commit', 6 + time % 2);
  }
`;

let directory: string;
let program: string;
let reportFile: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'failpoints-'));
  program = join(directory, 'program.mjs');
  reportFile = join(directory, 'report.json');
  writeFileSync(program, PROGRAM);
});
afterEach(() => rmSync(directory, { recursive: true }));

function run(failpoints: string | null, args: readonly string[] = ['--import', PRELOAD, program]) {
  const { PATH = '' } = process.env;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
    env: {
      PATH,
      HOLDFAST_FAILPOINTS_REPORT: reportFile,
      ...(failpoints === null ? {} : { HOLDFAST_FAILPOINTS: failpoints }),
    },
    encoding: 'utf8',
  });
  return { status, signal, words: stdout.trim().split(' '), stderr };
}

function report(): FailpointReport {
  return JSON.parse(readFileSync(reportFile, 'utf8')) as FailpointReport;
}

const MAIN = ['admission.before_submit', 'admission.before_submit'];
const COMMIT = 'journal.after_commit';

describe('I1: a process that is killed at a point does nothing after it', () => {
  test('in the main thread, at the second time', () => {
    const { signal, words } = run('admission.before_submit=kill@2');
    expect([signal, words]).toEqual(['SIGKILL', MAIN]);
    expect(report()).toMatchObject({
      reached: { 'admission.before_submit': 2, [COMMIT]: 0 },
      killedAt: 'admission.before_submit',
    });
  });

  test('in a worker thread, at the third time', () => {
    const { signal, words } = run(`${COMMIT}=kill@3`);
    expect([signal, words]).toEqual(['SIGKILL', [...MAIN, COMMIT, COMMIT, COMMIT]]);
    expect(report()).toMatchObject({ reached: { [COMMIT]: 3 }, killedAt: COMMIT });
  });

  test('after another point of another thread, counted from there', () => {
    const { signal, words } = run(`${COMMIT}=kill@2 after admission.before_submit@2`);
    expect([signal, words]).toEqual(['SIGKILL', [...MAIN, COMMIT, COMMIT]]);
    const never = run(`${COMMIT}=kill@1 after admission.before_submit@3`);
    expect([never.signal, never.words.at(-1)]).toEqual([null, 'end']);
  });
});

test('of one subject alone, counted over it', () => {
  const { signal, words } = run(`${COMMIT}=kill@1 of 7`);
  expect([signal, words]).toEqual(['SIGKILL', [...MAIN, COMMIT, COMMIT]]);
  expect(run(`${COMMIT}=kill@2 of 6`).words).toEqual([...MAIN, COMMIT, COMMIT, COMMIT]);
  for (const text of [`${COMMIT}=kill@2 of 7`, 'admission.before_submit=kill@1 of 7'])
    expect(run(text).words.at(-1)).toBe('end');
});

test('a count ends nothing, and is told at the end for every point and thread', () => {
  const { status, words } = run('journal.before_begin=count');
  expect([status, words.at(-1)]).toEqual([0, 'end']);
  expect(report()).toEqual({
    reached: {
      ...Object.fromEntries(Object.keys(FAILPOINTS).map((name) => [name, 0])),
      'admission.before_submit': 2,
      [COMMIT]: 3,
    },
    killedAt: null,
  });
});

describe('what is not meant does not start', () => {
  test.for<readonly [string, string]>([
    [
      'journal.after_comit=kill@1',
      'unknown failpoint journal.after_comit; did you mean journal.after_commit?',
    ],
    ['nonsense=count', 'unknown failpoint nonsense; there are admission.before_submit, '],
    ['journal.after_commit', 'neither count nor kill@N'],
    ['journal.after_commit=kill@1 of nothing', 'neither count nor kill@N'],
    ['journal.after_commit=kill@0', 'neither count nor kill@N'],
    ['journal.after_commit=kill@1 after journal.nothing@1', 'unknown failpoint journal.nothing'],
    ['journal.after_commit=kill@1,journal.after_commit=kill@2', 'given twice'],
    ['', 'unknown failpoint'],
  ])('%s', ([text, message]) => {
    const { status, words, stderr } = run(text);
    expect([status, words]).toEqual([2, ['']]);
    expect(stderr).toContain(`HOLDFAST_FAILPOINTS: `);
    expect(stderr).toContain(message);
  });

  test('a daemon without the preload refuses the variable instead of heeding it', () => {
    const { status, stderr } = run(`${COMMIT}=kill@1`, [SIDECAR, '--data-dir', directory]);
    expect(status).toBe(2);
    expect(stderr).toContain('unknown environment variable HOLDFAST_FAILPOINTS');
  });
});

test('nothing in the product arms a point: neither HTTP nor configuration can', () => {
  const arming = readSourceTree()
    .filter(({ path, text }) => !path.startsWith('test/') && text.includes('armFailpoints'))
    .map(({ path }) => path);
  expect(arming.filter((path) => path !== 'shared/platform/failpoints.ts')).toEqual([]);
});

test('each point says what is true at it, and a list names several', () => {
  for (const sentence of Object.values(FAILPOINTS)) expect(sentence.length).toBeGreaterThan(20);
  expect(parseFailpoints(`${COMMIT}=kill@3, admission.before_submit=count`)).toEqual(
    new Map([[COMMIT, { at: 3, of: null, after: null }]]),
  );
});
