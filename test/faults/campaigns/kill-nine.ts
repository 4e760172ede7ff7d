/**
 * A whole sidecar under load is killed at a random moment, at times while it starts, and started
 * again on the same data, over and over.
 */
import { join } from 'node:path';
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import { historyChecks } from '../check/promise-checks.ts';
import { History, countCalls } from '../history/history.ts';
import { Workload } from '../history/workload.ts';
import { pause } from '../pause.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { copySite, makeSite } from '../sidecar/site.ts';
import { expectReady, startText } from '../subject.ts';
import { Verifier } from '../verifier.ts';

const CLIENTS = 16;
const LOAD_MS = { least: 10, most: 350 };
const START_KILL_SHARE = 0.15;
const START_KILL_MS_MAX = 900;

export const killNine: Campaign = {
  name: 'kill9',
  about: 'SIGKILL of a loaded sidecar at random moments, its start included',
  cyclesAtFirst: 20,
  needs: [],
  run,
};

async function run({
  cycles,
  random,
  undo,
  isOver,
  say,
}: CampaignOptions): Promise<CampaignReport> {
  const site = await makeSite(undo);
  const dataDir = join(site.root, 'sidecar');
  copySite(site, dataDir);
  const history = new History();
  const journalPath = join(dataDir, 'journal/journal.db');
  const verifier = new Verifier({ history, journalPath, random: random.fork() });
  const breaches: Breach[] = [];
  let killedInStart = 0;
  let done = 0;
  let sidecar = new SidecarProcess(site, undo, { dataDir });
  await expectReady(sidecar);
  for (; done < cycles && !isOver() && verifier.lies.length === 0; done += 1) {
    const workload = new Workload({
      target: sidecar.target,
      history,
      random: random.fork(),
      prefix: `kill-${done + 1}`,
    });
    workload.start(CLIENTS);
    await pause(LOAD_MS.least + random.below(LOAD_MS.most - LOAD_MS.least));
    await sidecar.kill();
    await workload.stop();
    await sidecar.close();
    if (random.unit() < START_KILL_SHARE) {
      const halfStarted = new SidecarProcess(site, undo, { dataDir });
      await pause(random.below(START_KILL_MS_MAX));
      await halfStarted.close();
      killedInStart += 1;
    }
    sidecar = new SidecarProcess(site, undo, { dataDir });
    const started = await sidecar.started();
    if (started.kind !== 'ready') {
      breaches.push({ what: `did not serve after cycle ${done + 1}`, detail: startText(started) });
      break;
    }
    await verifier.afterCrash(sidecar.target, workload.begun);
    if ((done + 1) % 10 === 0) say(`${done + 1} of ${cycles} kills, ${history.calls.length} calls`);
  }
  await sidecar.close();
  verifier.checkAll();
  return {
    counts: {
      cycles: done,
      'killed in start': killedInStart,
      ...countCalls(history.calls),
      'asked again': verifier.retried,
      'replays of acknowledged': verifier.replayed,
      'entries walked': verifier.entries,
    },
    faults: { 'kill -9 of a sidecar': done, 'kill -9 in a start': killedInStart },
    checks: historyChecks(history.calls),
    lies: verifier.lies,
    breaches,
  };
}
