/**
 * One run of a sidecar whose system calls are made to fail, and the run after it: what the first
 * told its clients, whether it ended as it must, and whether the second makes it whole.
 */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Breach, CampaignOptions } from '../campaign.ts';
import type { Lie } from '../check/lie.ts';
import { historyChecks, type Checks } from '../check/promise-checks.ts';
import { History, countCalls, type Call } from '../history/history.ts';
import { Workload } from '../history/workload.ts';
import {
  injectedCalls,
  isOfJournal,
  straceCommand,
  type Injected,
  type Injection,
} from '../inject/system-calls.ts';
import { pause } from '../pause.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import type { Site } from '../sidecar/site.ts';
import { expectReady, startText, type Ended } from '../subject.ts';
import { Verifier } from '../verifier.ts';

const LOAD_MS_MAX = 8_000;
const END_BOUND_MS = 12_000;
const START_REFUSED = 3;

export type FaultyRun = {
  readonly outcome:
    | 'refused to start'
    | 'stopped by itself'
    | 'went on, the journal was not hit'
    | 'not reached'
    | 'broken';
  readonly injected: readonly Injected[];
  readonly calls: readonly Call[];
  readonly lies: readonly Lie[];
  readonly breaches: readonly Breach[];
};

/** `name` tells the runs of a campaign apart; each works in a copy of the site of its own. */
export async function runUnderFault(
  site: Site,
  { undo, random }: CampaignOptions,
  parts: { readonly name: string; readonly injection: Injection; readonly clients: number },
): Promise<FaultyRun> {
  const dataDir = join(site.root, parts.name);
  cpSync(site.template, dataDir, { recursive: true });
  const history = new History();
  const breaches: Breach[] = [];
  const breach = (detail: string): void => void breaches.push({ what: parts.name, detail });
  const journalPath = join(dataDir, 'journal/journal.db');
  const verifier = new Verifier({ history, journalPath, random: random.fork() });
  const under = straceCommand(parts.injection);
  const sidecar = new SidecarProcess(site, undo, { dataDir, under });
  const prefix = `${parts.name.replaceAll(/\W/g, '')}-1`;
  const workload = new Workload({ target: sidecar.target, history, random: random.fork(), prefix });
  let outcome: FaultyRun['outcome'] = 'broken';
  const started = await sidecar.started();
  if (started.kind === 'ended') {
    outcome = 'refused to start';
    if (started.ended.code !== START_REFUSED || started.ended.said === '')
      breach(`refused to start, but not with a message and exit code 3: ${startText(started)}`);
  } else if (started.kind === 'not_ready') {
    breach(`started and does not serve: ${startText(started)}`);
  } else {
    workload.start(parts.clients);
    const ended = await loadUntilHit(sidecar, parts.injection.traceFile);
    await workload.stop();
    outcome = endOutcome(ended, injectedCalls(parts.injection.traceFile), breach);
  }
  await sidecar.close();
  const injected = injectedCalls(parts.injection.traceFile);
  if (outcome === 'stopped by itself') checkAnswers(history.calls, injected, breach);
  const again = new SidecarProcess(site, undo, { dataDir });
  try {
    await expectReady(again);
    await verifier.afterCrash(again.target, workload.begun);
  } catch (error) {
    breach(`the next start: ${error instanceof Error ? error.message : String(error)}`);
  }
  await again.close();
  if (breaches.length === 0) verifier.checkAll();
  rmSync(dataDir, { recursive: true });
  rmSync(parts.injection.traceFile, { force: true });
  return { outcome, injected, calls: history.calls, lies: verifier.lies, breaches };
}

/** Until it ends by itself, or had the time to. */
async function loadUntilHit(sidecar: SidecarProcess, traceFile: string): Promise<Ended | null> {
  const startedMs = performance.now();
  while (performance.now() - startedMs < LOAD_MS_MAX) {
    const ended = await Promise.race([sidecar.ended, pause(100).then(() => null)]);
    if (ended !== null) return ended;
    if (injectedCalls(traceFile).some(isOfJournal)) return sidecar.untilEnded(END_BOUND_MS);
  }
  return null;
}

function endOutcome(
  ended: Ended | null,
  injected: readonly Injected[],
  breach: (detail: string) => void,
): FaultyRun['outcome'] {
  if (ended !== null) {
    if (ended.code === 0 || ended.code === null)
      breach(`it ended by ${ended.signal ?? 'exit code 0'}, as if nothing had happened`);
    else if (ended.said === '') breach('it ended without saying why');
    return 'stopped by itself';
  }
  if (injected.length === 0) return 'not reached';
  if (!injected.some(isOfJournal)) return 'went on, the journal was not hit';
  breach(`it goes on after an error of ${injected.find(isOfJournal)?.path}`);
  return 'broken';
}

/** Nothing that was asked after the error may be told to have happened, or to have been refused. */
function checkAnswers(
  calls: readonly Call[],
  injected: readonly Injected[],
  breach: (detail: string) => void,
): void {
  const hit = injected.find(isOfJournal);
  if (hit === undefined) return;
  for (const { request, end, invokedMs } of calls) {
    // What the clock of the trace and this one may differ by.
    if (invokedMs <= hit.atMs + 1 || end === null || end.kind === 'info') continue;
    if (end.kind === 'ok' && end.answer.replayed) continue;
    const said = end.kind === 'ok' ? 'acknowledged' : `refused as ${end.code}`;
    breach(`${request.kind} was ${said} ${Math.round(invokedMs - hit.atMs)} ms after the error`);
  }
  const waiting = waitingAt(hit, calls);
  if (waiting.length > 0 && !waiting.some(isToldUnknown))
    breach(`${waiting.length} callers waited, and none was told outcome_unknown`);
}

/** Those who had asked before the error and had no answer yet. */
function waitingAt(hit: Injected | undefined, calls: readonly Call[]): Call[] {
  return calls.filter(
    ({ invokedMs, endedMs }) =>
      hit !== undefined && invokedMs < hit.atMs - 1 && endedMs > hit.atMs + 1,
  );
}

function isToldUnknown({ end }: Call): boolean {
  return end?.kind === 'info' && end.code === 'outcome_unknown';
}

/** Its commit was before the one that failed; only its answer came after. */
function isOutcome(end: Call['end']): boolean {
  return end?.kind === 'ok' || end?.kind === 'fail';
}

export function injectedIn(runs: readonly FaultyRun[]): number {
  return runs.reduce((total, { injected }) => total + injected.length, 0);
}

export function faultChecks(runs: readonly FaultyRun[]): Checks {
  return historyChecks(runs.flatMap(({ calls }) => calls));
}

export function faultCounts(
  runs: readonly FaultyRun[],
  more: Readonly<Record<string, number>> = {},
): Record<string, number> {
  const counts: Record<string, number> = { runs: runs.length };
  for (const { outcome } of runs) counts[outcome] = (counts[outcome] ?? 0) + 1;
  const calls = runs.flatMap((one) => one.calls);
  const waiting = runs.flatMap((one) =>
    one.outcome === 'stopped by itself' ? waitingAt(one.injected.find(isOfJournal), one.calls) : [],
  );
  return {
    ...counts,
    'calls made to fail': injectedIn(runs),
    ...more,
    ...countCalls(calls),
    'waiting when it failed': waiting.length,
    'of them told outcome_unknown': waiting.filter(isToldUnknown).length,
    'of them told of an earlier commit': waiting.filter(({ end }) => isOutcome(end)).length,
  };
}
