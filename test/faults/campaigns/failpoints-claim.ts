/**
 * A claim and `kill -9`, at every moment between its transaction and its answer: the key brings back its
 * claim where it is committed, and nobody else gets what it took (I1, I9).
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { FailpointName } from '../../../shared/platform/failpoints.ts';
import type { ClaimAnswer } from '../../../shared/wire/claim-api.ts';
import { CLAIM, CLAIM_THEN_DIE } from '../../fakes/claim-then-die.ts';
import { openTestSidecar } from '../../fakes/sidecar-app.ts';
import { callerOf } from '../../fakes/sidecar-caller.ts';
import { killNow, type Undo } from '../undo.ts';
import { readFailpointReport, type CaseResult } from './failpoints-cases.ts';

export type ClaimKill = {
  readonly point: FailpointName;
  readonly at: number;
  /** Whether what died there is committed. */
  readonly isTaken: boolean;
};

/** Two admissions, each in a batch of its own; the third is of the claim. */
export const CLAIM_KILLS: readonly ClaimKill[] = [
  { point: 'claim.after_answer', at: 1, isTaken: true },
  { point: 'journal.before_commit', at: 3, isTaken: false },
  { point: 'journal.after_commit', at: 3, isTaken: true },
  { point: 'journal.before_answers', at: 3, isTaken: true },
];

export async function runClaimKill(
  { point, at, isTaken }: ClaimKill,
  { root, undo }: { readonly root: string; readonly undo: Undo },
): Promise<CaseResult> {
  const directory = join(root, `claim-${point}`);
  const reportFile = `${directory}.json`;
  const problems: string[] = [];
  const signal = await dieAt([directory, `${point}=kill@${at}`, reportFile], undo);
  const report = readFailpointReport(reportFile);
  if (signal !== 'SIGKILL' || report?.killedAt !== point)
    problems.push(`not killed at ${point}: ended by ${signal}`);
  const sidecar = await openTestSidecar({ directory });
  const { call } = callerOf(() => sidecar);
  const claim = async (key: string): Promise<unknown> => {
    const headers = { 'idempotency-key': key };
    const answer = await call('POST', '/v1/operations:claim', { ...CLAIM, headers });
    const attempts = answer.json<ClaimAnswer>().items.map(({ attempt }) => attempt.attempt);
    return [answer.headers['idempotency-replayed'] ?? null, attempts];
  };
  const found = [await claim('another'), await claim('k')];
  await sidecar.close();
  const [held, none, taken] = [
    ['true', [1, 1]],
    [null, []],
    [null, [1, 1]],
  ];
  const wanted = isTaken ? [none, held] : [taken, none];
  if (!isDeepStrictEqual(found, wanted))
    problems.push(`I9: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
  rmSync(directory, { recursive: true });
  return { problems, lies: [], report };
}

function dieAt(args: readonly string[], undo: Undo): Promise<string | null> {
  const child = spawn(process.execPath, [CLAIM_THEN_DIE, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const gone = undo.add(`claim ${child.pid}`, () => killNow(child));
  return new Promise((resolve) => {
    child.once('close', (_code, signal) => {
      gone();
      resolve(signal);
    });
  });
}
