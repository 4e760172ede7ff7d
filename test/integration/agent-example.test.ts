/**
 * The example agent as a user runs it: the recorded conversation, and twenty more with kills at other
 * points of each, on the same two daemons. What each left behind is compared once more here, and with
 * lies in it.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { takeAccount, type Account, type Evidence } from '../../deploy/examples/agent/account.ts';
import { recordedPlan, seededPlan } from '../../deploy/examples/agent/crash-plan.ts';
import type { Report } from '../../deploy/examples/agent/report.ts';
import { TURNS_FILE, readTurns } from '../../deploy/examples/agent/turn-file.ts';
import { REPOSITORY_ROOT } from '../tidy/source-tree.ts';
import { answerPattern, readmeSteps } from './readme-steps.ts';

const DEMO = join(REPOSITORY_ROOT, 'deploy/examples/agent/demo.ts');
const SEEDS = 20;
const CLEAN = { lost: [], doubled: [], unexplained: [], toldWrong: [], unsettled: [] };

type Written = { readonly evidence: Evidence; readonly report: Report };
type Ended = { readonly code: number | null; readonly output: string };

let directory: string;
let file: string;
let ended: Ended;
let runs: readonly Written[];

async function runDemo(...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [DEMO, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, output };
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'agent-'));
  file = join(directory, 'evidence.json');
  ended = await runDemo('--json', '--seeds', String(SEEDS), '--evidence', file);
  runs = JSON.parse(readFileSync(file, 'utf8')) as readonly Written[];
}, 300_000);
afterAll(() => rmSync(directory, { recursive: true }));

test.for(Array.from({ length: SEEDS + 1 }, (_, at) => at))(
  'I1, I2, I8, I9: conversation %i: each call is done once, or told as it is, and the journal explains it',
  (at) => {
    const account = takeAccount(runs[at]!.evidence);
    expect(account).toMatchObject(CLEAN);
    expect(account.operations).toBeGreaterThanOrEqual(8);
  },
);

test('the demo says so, exits 0, and had everything in it that it is told for', () => {
  expect(ended.code).toBe(0);
  const { conversations } = JSON.parse(ended.output) as { conversations: readonly Report[] };
  expect(conversations).toHaveLength(SEEDS + 1);
  for (const { account } of conversations) expect(account).toMatchObject(CLEAN);
  const told = conversations.flatMap((it) => it.told);
  for (const status of ['succeeded', 'refused', 'failed', 'pending', 'unknown'] as const)
    expect(told.some((call) => call.status === status)).toBe(true);
  expect(told.some(({ replayed }) => replayed)).toBe(true);
  const sum = (numbers: readonly number[]): number => numbers.reduce((all, it) => all + it, 0);
  expect(sum(conversations.map(({ killed }) => killed))).toBeGreaterThanOrEqual(15);
  expect(sum(conversations.map((it) => it.settledByLedger))).toBeGreaterThan(0);
});

test('the README shows what it prints', async () => {
  const [step] = readmeSteps('agent');
  expect(step?.command).toBe('npm run demo:agent');
  const { code, output } = await runDemo('--check', file);
  expect(code).toBe(0);
  expect(output.trim()).toMatch(answerPattern(step?.expected ?? ''));
});

test('a lie in what was written down: the check says which, and exits 1', async () => {
  const [{ evidence, report }, ...others] = runs as [Written, ...Written[]];
  const ledger = [...evidence.ledger, evidence.ledger[0]!];
  const withLie = join(directory, 'lie.json');
  writeFileSync(
    withLie,
    JSON.stringify([{ report, evidence: { ...evidence, ledger } }, ...others]),
  );
  const { code, output } = await runDemo('--check', withLie);
  expect(code).toBe(1);
  expect(output).toMatch(/done twice, or two operations +1\n +op_\w+\.call: 2 times\n/);
});

describe('a lie is found', () => {
  const lie = (change: (it: Evidence) => Partial<Evidence>): Account => {
    const { evidence } = runs[0]!;
    return takeAccount({ ...evidence, ...change(evidence) });
  };

  test('in the ledger: another call, one less, one with other arguments', () => {
    const first = runs[0]!.evidence.ledger[0]!;
    const foreign = { ...first, idempotencyKey: 'op_none.call' };
    expect(lie(({ ledger }) => ({ ledger: [...ledger, foreign] })).unexplained).toHaveLength(1);
    expect(lie(({ ledger }) => ({ ledger: ledger.slice(1) })).lost).toHaveLength(1);
    const other = { ...first, args: { order: 'o-1' } };
    const { unexplained } = lie(({ ledger }) => ({ ledger: [other, ...ledger.slice(1)] }));
    expect(unexplained).toEqual([expect.stringContaining('o-1') as string]);
  });

  test('in what was told, in the journal, and in what explains it', () => {
    const { told, ledger } = runs[0]!.evidence;
    const refused = told.find(({ status }) => status === 'refused')!;
    const toldAs = (change: object): readonly string[] =>
      lie(() => ({ told: told.map((call) => (call === refused ? { ...call, ...change } : call)) }))
        .toldWrong;
    expect(toldAs({ status: 'succeeded' })).toHaveLength(1);
    expect(toldAs({ status: 'unknown', operationId: told[0]!.operationId })).toHaveLength(1);
    expect(lie(() => ({ told: told.slice(1) })).toldWrong).toHaveLength(1);
    const isApproval = ({ kind }: { kind: string }): boolean => kind === 'approved';
    const unapproved = lie((it) => ({ journal: it.journal.filter((event) => !isApproval(event)) }));
    expect(unapproved.unexplained).toEqual([expect.stringContaining('approved') as string]);
    expect(lie(() => ({ explanations: [] })).unsettled).toHaveLength(
      new Set(ledger.map(({ idempotencyKey }) => idempotencyKey)).size + 1,
    );
  });
});

test('the same seed kills at the same points, another at others; the file says its own', () => {
  const turns = readTurns(TURNS_FILE);
  expect(seededPlan(3, turns)).toEqual(seededPlan(3, turns));
  const plans = Array.from({ length: SEEDS }, (_, seed) => JSON.stringify(seededPlan(seed, turns)));
  expect(new Set(plans).size).toBeGreaterThan(SEEDS / 2);
  expect(recordedPlan(turns)).toEqual({
    points: [
      { victim: 'sidecar', turn: 3, call: 1, when: 'before' },
      { victim: 'agent', turn: 7, call: 1, when: 'after' },
    ],
    control: { awayFrom: 5, backAt: 9 },
  });
});
