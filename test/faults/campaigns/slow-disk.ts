/**
 * A disk that still works and takes its time over each flush. Answers stay true, commits are shared,
 * and whoever asks how it is gets an answer at once. Where it is too slow, so does new work: a refusal
 * that says when to come again, while accepted work goes on.
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import type { Lie } from '../check/lie.ts';
import { historyChecks } from '../check/promise-checks.ts';
import { History, countCalls } from '../history/history.ts';
import { Workload } from '../history/workload.ts';
import { STRACE, injectedCalls, slowFlush, straceCommand } from '../inject/system-calls.ts';
import { pause } from '../pause.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { makeSite, type Site } from '../sidecar/site.ts';
import { expectReady } from '../subject.ts';
import { Verifier } from '../verifier.ts';

const DELAYS_MS = [50, 500, 1_500];
/** From here on a write waits for longer than new work is made to; from half of it on it may. */
const SHEDDING_FROM_MS = 1_000;
const CLIENTS = 16;
const LOAD_MS = 10_000;
const PROBE_EVERY_MS = 100;
/** A flush of 500 ms in the way of an answer would show at once; the rest is room for a busy machine. */
const HEALTH_P50_MS_MAX = 250;
const SHED_P50_MS_MAX = 250;
const SHARED_LEAST = 2;

export const slowDisk: Campaign = {
  name: 'slow-disk',
  about: `each fsync takes ${DELAYS_MS.join(', ')} ms longer`,
  cyclesAtFirst: 1,
  needs: [STRACE],
  run,
};

type Slow = {
  readonly delayed: number;
  readonly calls: History['calls'];
  readonly counts: Record<string, number | string>;
  readonly lies: readonly Lie[];
  readonly breaches: readonly Breach[];
};

async function run(options: CampaignOptions): Promise<CampaignReport> {
  const site = await makeSite(options.undo);
  const runs: Slow[] = [];
  for (let round = 1; round <= options.cycles; round += 1) {
    for (const delayMs of DELAYS_MS) {
      if (options.isOver()) continue;
      runs.push(await runSlow(site, options, { delayMs, name: `slow${delayMs}-${round}` }));
      options.say(`${delayMs} ms, round ${round} of ${options.cycles}`);
    }
  }
  return {
    counts: Object.assign({}, ...runs.map(({ counts }) => counts)) as Slow['counts'],
    faults: { 'flush delayed': runs.reduce((sum, { delayed }) => sum + delayed, 0) },
    checks: historyChecks(runs.flatMap(({ calls }) => calls)),
    lies: runs.flatMap(({ lies }) => lies),
    breaches: runs.flatMap(({ breaches }) => breaches),
  };
}

async function runSlow(
  site: Site,
  { undo, random }: CampaignOptions,
  { delayMs, name }: { readonly delayMs: number; readonly name: string },
): Promise<Slow> {
  const dataDir = join(site.root, name);
  cpSync(site.template, dataDir, { recursive: true });
  const traceFile = join(site.root, 'trace');
  const history = new History();
  const journalPath = join(dataDir, 'journal/journal.db');
  const verifier = new Verifier({ history, journalPath, random: random.fork() });
  const under = straceCommand(slowFlush(delayMs, traceFile));
  const slow = new SidecarProcess(site, undo, { dataDir, under });
  await expectReady(slow);
  const workload = new Workload({
    target: slow.target,
    history,
    random: random.fork(),
    prefix: name,
  });
  workload.start(CLIENTS);
  const healthMs = await probeFor(slow, LOAD_MS);
  const shared = commandsPerCommit((await slow.probe('/metrics'))?.body ?? '');
  await slow.kill();
  await workload.stop();
  await slow.close();
  const delayed = injectedCalls(traceFile).length;
  const again = new SidecarProcess(site, undo, { dataDir });
  await expectReady(again);
  await verifier.afterCrash(again.target, workload.begun);
  await again.close();
  verifier.checkAll();
  const breaches: Breach[] = [];
  const p50 = at(healthMs, 0.5);
  if (delayed === 0) breaches.push({ what: name, detail: 'no call was delayed' });
  if (p50 > HEALTH_P50_MS_MAX)
    breaches.push({ what: name, detail: `half of the health checks took ${p50} ms and more` });
  const isShedding = delayMs >= SHEDDING_FROM_MS;
  const shedMs = turnedAwayMs(history);
  const mayShed = delayMs >= SHEDDING_FROM_MS / 2;
  if (isShedding ? shedMs.length === 0 : !mayShed && shedMs.length > 0)
    breaches.push({ what: name, detail: `${shedMs.length} calls were turned away` });
  if (at(shedMs, 0.5) > SHED_P50_MS_MAX)
    breaches.push({
      what: name,
      detail: `half of the refusals took ${at(shedMs, 0.5)} ms and more`,
    });
  if (!isShedding && shared.perCommit < SHARED_LEAST)
    breaches.push({
      what: name,
      detail: `${shared.perCommit} commands a commit: it is not shared`,
    });
  const { acknowledged = 0, refused = 0 } = countCalls(history.calls);
  return {
    delayed,
    calls: history.calls,
    counts: {
      [`${delayMs} ms: delayed flushes`]: delayed,
      [`${delayMs} ms: acknowledged`]: acknowledged,
      [`${delayMs} ms: refused`]: refused,
      [`${delayMs} ms: turned away at once`]: shedMs.length,
      [`${delayMs} ms: commits`]: shared.commits,
      [`${delayMs} ms: commands per commit`]: shared.perCommit,
      [`${delayMs} ms: health p50 / p95 / max ms`]: `${p50} / ${at(healthMs, 0.95)} / ${at(healthMs, 1)} of ${healthMs.length}`,
    },
    lies: verifier.lies,
    breaches,
  };
}

/** How long each took that was told to come again later. */
function turnedAwayMs({ calls }: History): number[] {
  return calls
    .filter(({ end }) => end?.kind === 'fail' && end.code === 'journal_busy')
    .map(({ invokedMs, endedMs }) => endedMs - invokedMs)
    .toSorted((a, b) => a - b);
}

/** How long each look at its health took: the probe and the verdicts, in turn. */
async function probeFor(sidecar: SidecarProcess, durationMs: number): Promise<number[]> {
  const startedMs = performance.now();
  const took: number[] = [];
  while (performance.now() - startedMs < durationMs) {
    const probe = await sidecar.probe('/readyz');
    took.push(probe?.tookMs ?? Number.POSITIVE_INFINITY);
    const askedMs = performance.now();
    await sidecar.target.client.health();
    took.push(performance.now() - askedMs);
    await pause(PROBE_EVERY_MS);
  }
  return took.toSorted((a, b) => a - b);
}

function at(sorted: readonly number[], share: number): number {
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return Math.round(value * 10) / 10;
}

function commandsPerCommit(metrics: string): { commits: number; perCommit: number } {
  const valueOf = (name: string): number =>
    Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(metrics)?.[1] ?? 0);
  const commits = valueOf('holdfast_journal_batch_commands_count');
  const commands = valueOf('holdfast_journal_batch_commands_sum');
  return { commits, perCommit: Math.round((commands / Math.max(1, commits)) * 10) / 10 };
}
