/**
 * A retention that is killed in the middle: the journal is then sound, everything that may not go is
 * there, and the next run comes to the same end as one that was never killed.
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { journalFiles } from '../../../dataplane/journal/journal-files.ts';
import { JournalReader } from '../../../dataplane/journal/journal-reader.ts';
import { SystemClock } from '../../../shared/platform/clock.ts';
import type { FailpointName } from '../../../shared/platform/failpoints.ts';
import { DAY_MS } from '../../../shared/core/time.ts';
import { AgedJournal } from '../../fakes/aged-journal.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import { copyJournal } from '../../fakes/journal-image.ts';
import { JOURNAL_PRUNE } from '../../fakes/journal-prune.ts';
import { bareEnvironment } from '../../fakes/bare-environment.ts';
import { killNow, type Undo } from '../undo.ts';
import { armedEnvironment, readFailpointReport, verifyCode } from './failpoints-cases.ts';
import type { CaseResult } from './failpoints-cases.ts';

export type PruneKill = { readonly point: FailpointName; readonly at: number };

const DURING = 'journal.during_prune';
const STEPS = [1, 2, 3];

export const PRUNE_KILLS: readonly PruneKill[] = STEPS.flatMap((at) =>
  [DURING, 'journal.before_commit', 'journal.after_commit', 'journal.after_head'].map((point) => ({
    point: point as FailpointName,
    at,
  })),
);

const KEPT = ['unsettled', 'far deadline', 'unreported'];

/** Twelve hundred that may go, one that has not ended, one before its deadline, one unreported. */
export async function makePrunable(dataDir: string): Promise<void> {
  const clock = new FakeClock({ wallMs: new SystemClock().now().wallMs - 30 * DAY_MS });
  const aged = new AgedJournal(join(dataDir, 'journal'), clock);
  await aged.admit('unsettled');
  await aged.done('far deadline', 60 * DAY_MS);
  for (let count = 0; count < 1_200; count += 1) await aged.done(`k${count}`);
  await aged.report();
  await aged.done('unreported');
  await aged.journal.close();
}

export async function runPruneKill(
  from: string,
  { point, at }: PruneKill,
  { root, undo }: { readonly root: string; readonly undo: Undo },
): Promise<CaseResult> {
  const dataDir = join(root, `prune-${point}-${at}`);
  const reportFile = `${dataDir}.json`;
  const files = journalFiles(join(dataDir, 'journal'));
  copyJournal(journalFiles(join(from, 'journal')), files);
  const problems: string[] = [];
  const failpoints =
    point === DURING ? `${point}=kill@${at}` : `${point}=kill@1 after ${DURING}@${at}`;
  const killed = await prune(files.directory, undo, armedEnvironment(failpoints, reportFile));
  const report = readFailpointReport(reportFile);
  if (killed.signal !== 'SIGKILL' || report?.killedAt !== point)
    problems.push(`not killed at ${failpoints}: ${killed.said}`);
  if ((await verifyCode(dataDir)) !== 0) problems.push('journal verify after the kill: not sound');
  const left = keysIn(files.database);
  if (KEPT.some((key) => !left.includes(key)))
    problems.push(`of ${KEPT.join()} is left: ${left.join()}`);
  const again = await prune(files.directory, undo, []);
  if (again.signal !== null || again.said !== '') problems.push(`the next run: ${again.said}`);
  // The last that control holds is the place that it is known by.
  const whole = [...KEPT.slice(0, 2), 'k1199', 'unreported'];
  const atEnd = keysIn(files.database);
  if (!isDeepStrictEqual(atEnd, whole)) problems.push(`at the end is left: ${atEnd.join()}`);
  if ((await verifyCode(dataDir)) !== 0) problems.push('journal verify at the end: not sound');
  rmSync(dataDir, { recursive: true });
  return { problems, lies: [], report };
}

function keysIn(path: string): string[] {
  const reader = new JournalReader(path);
  const filter = { app: null, state: null, beforeSeq: Number.MAX_SAFE_INTEGER, limit: 10_000 };
  const operations = reader.operations(filter);
  reader.close();
  return operations.map(({ operation }) => operation.idempotencyKey).toReversed();
}

function prune(
  directory: string,
  undo: Undo,
  under: readonly string[],
): Promise<{ signal: string | null; said: string }> {
  const [program, ...args] = [...under, process.execPath, JOURNAL_PRUNE, directory];
  const child = spawn(program, args, {
    env: bareEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const gone = undo.add(`prune ${child.pid}`, () => killNow(child));
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  return new Promise((resolve) => {
    child.once('close', (_code, signal) => {
      gone();
      resolve({ signal, said: said.trim() });
    });
  });
}
