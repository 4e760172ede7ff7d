/**
 * The disk fills up under a loaded sidecar. What was accepted stays, what is answered is coded and
 * true, and once there is room again everything goes on.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import type { Lie } from '../check/lie.ts';
import { History, countCalls, type Call } from '../history/history.ts';
import { Workload } from '../history/workload.ts';
import { LOOP_DISK_PROGRAMS, LoopDisk } from '../inject/loop-disk.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { copySite, makeSite, type Site } from '../sidecar/site.ts';
import { expectReady, startText } from '../subject.ts';
import { Verifier } from '../verifier.ts';

const CLIENTS = 8;
const DISK_MB = 16;
const ROOM_LEFT_BYTES = 1_500_000;
const LOAD_MS_MAX = 30_000;
/** Past the first refusal or failure, so that more than one answer of a full disk is seen. */
const LOAD_AFTER_MS = 1_500;

export const fullDisk: Campaign = {
  name: 'enospc',
  about: 'a 16 MB disk fills up under load, and has room again later',
  cyclesAtFirst: 3,
  needs: LOOP_DISK_PROGRAMS,
  run,
};

async function run(options: CampaignOptions): Promise<CampaignReport> {
  const { cycles, undo, isOver, say } = options;
  const site = await makeSite(undo);
  const lies: Lie[] = [];
  const breaches: Breach[] = [];
  const calls: Call[] = [];
  const ends: Record<string, number> = {};
  let done = 0;
  for (; done < cycles && !isOver(); done += 1) {
    const name = `full-${done + 1}`;
    const disk = new LoopDisk(join(site.root, name), undo, { sizeMb: DISK_MB });
    const cycle = await fillUp(site, options, { disk, name });
    disk.remove();
    lies.push(...cycle.lies);
    breaches.push(...cycle.breaches);
    calls.push(...cycle.calls);
    ends[cycle.end] = (ends[cycle.end] ?? 0) + 1;
    say(`${name}: ${cycle.end}`);
  }
  const codes: Record<string, number> = {};
  for (const { end } of calls) {
    if (end === null || end.kind === 'ok') continue;
    codes[`answer ${end.code}`] = (codes[`answer ${end.code}`] ?? 0) + 1;
  }
  return { counts: { cycles: done, ...ends, ...countCalls(calls), ...codes }, lies, breaches };
}

type Filled = {
  readonly end: string;
  readonly calls: readonly Call[];
  readonly lies: readonly Lie[];
  readonly breaches: readonly Breach[];
};

async function fillUp(
  site: Site,
  { undo, random }: CampaignOptions,
  { disk, name }: { readonly disk: LoopDisk; readonly name: string },
): Promise<Filled> {
  const dataDir = join(disk.directory, 'data');
  copySite(site, dataDir);
  const history = new History();
  const journalPath = join(dataDir, 'journal/journal.db');
  const verifier = new Verifier({ history, journalPath, random: random.fork() });
  const breaches: Breach[] = [];
  const sidecar = new SidecarProcess(site, undo, { dataDir });
  await expectReady(sidecar);
  const filler = join(disk.directory, 'filler');
  writeFileSync(filler, Buffer.alloc(Math.max(0, disk.freeBytes - ROOM_LEFT_BYTES), 1));
  const workload = new Workload({
    target: sidecar.target,
    history,
    random: random.fork(),
    prefix: name,
  });
  workload.start(CLIENTS);
  const ended = await loadUntilFull(sidecar, history);
  let end = 'went on, answering';
  if (ended === null) await sidecar.kill();
  else {
    end = `ended by itself with exit code ${ended.code}`;
    if (ended.code === 0 || ended.said === '')
      breaches.push({ what: name, detail: `it ended quietly: ${JSON.stringify(ended)}` });
  }
  await workload.stop();
  await sidecar.close();
  if (disk.freeBytes > ROOM_LEFT_BYTES / 2) end = `the disk did not fill up, ${end}`;
  rmSync(filler);
  const again = new SidecarProcess(site, undo, { dataDir });
  const started = await again.started();
  if (started.kind === 'ready') {
    await verifier.afterCrash(again.target, workload.begun);
  } else {
    breaches.push({ what: name, detail: `with room again: ${startText(started)}` });
  }
  await again.close();
  if (started.kind === 'ready') verifier.checkAll();
  return { end, calls: history.calls, lies: verifier.lies, breaches };
}

/** Until it ends, or has answered with a full disk for a while. */
async function loadUntilFull(
  sidecar: SidecarProcess,
  history: History,
): Promise<Awaited<SidecarProcess['ended']> | null> {
  const startedMs = performance.now();
  const isFull = (): boolean =>
    history.calls.some(({ end }) => end?.kind === 'fail' && end.code === 'journal_full');
  while (performance.now() - startedMs < LOAD_MS_MAX) {
    const ended = await sidecar.untilEnded(100);
    if (ended !== null) return ended;
    if (isFull()) return sidecar.untilEnded(LOAD_AFTER_MS);
  }
  return null;
}
