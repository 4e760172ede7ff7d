/**
 * A sidecar that starts on a file system mounted for reading only. It shows what is recorded, takes
 * nothing and says why; once the file system takes writes again it ends, and the next start serves.
 */
import { join } from 'node:path';
import { ProblemError } from '../../../shared/client/index.ts';
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import { historyChecks } from '../check/promise-checks.ts';
import { History, countCalls } from '../history/history.ts';
import { Workload } from '../history/workload.ts';
import { LOOP_DISK_PROGRAMS, LoopDisk } from '../inject/loop-disk.ts';
import { pause } from '../pause.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { copySite, makeSite, type Site } from '../sidecar/site.ts';
import { expectReady } from '../subject.ts';
import { Verifier } from '../verifier.ts';

const CLIENTS = 8;
const LOAD_MS = 1_000;
const DISK_MB = 64;
const END_BOUND_MS = 15_000;

export const readOnlyMount: Campaign = {
  name: 'read-only',
  about: 'a start on a disk that is mounted for reading only, after a kill and after a clean stop',
  cyclesAtFirst: 2,
  needs: LOOP_DISK_PROGRAMS,
  run,
};

async function run(options: CampaignOptions): Promise<CampaignReport> {
  const { cycles, undo, random, isOver, say } = options;
  const site = await makeSite(undo);
  const breaches: Breach[] = [];
  const histories: History[] = [];
  const verifiers: Verifier[] = [];
  let shown = 0;
  for (let cycle = 1; cycle <= cycles && !isOver(); cycle += 1) {
    const name = `read-only-${cycle}`;
    const disk = new LoopDisk(join(site.root, name), undo, { sizeMb: DISK_MB });
    const dataDir = join(disk.directory, 'data');
    copySite(site, dataDir);
    const history = new History();
    const journalPath = join(dataDir, 'journal/journal.db');
    const verifier = new Verifier({ history, journalPath, random: random.fork() });
    const workload = await loadAndEnd(site, options, { dataDir, history, name, cycle });
    disk.become('ro');
    const looked = await lookReadOnly(site, options, { dataDir, disk, history });
    breaches.push(...looked.problems.map((detail) => ({ what: name, detail })));
    shown += looked.shown;
    const again = new SidecarProcess(site, undo, { dataDir });
    await expectReady(again);
    await verifier.afterCrash(again.target, workload.begun);
    await again.close();
    verifier.checkAll();
    disk.remove();
    histories.push(history);
    verifiers.push(verifier);
    say(`${name}: ${looked.shown} operations shown, ${looked.problems.length} problems`);
  }
  const calls = histories.flatMap((history) => history.calls);
  return {
    counts: { cycles: histories.length, 'operations shown': shown, ...countCalls(calls) },
    faults: { 'disk mounted read-only': histories.length },
    checks: historyChecks(calls),
    lies: verifiers.flatMap(({ lies }) => lies),
    breaches,
  };
}

type Run = { readonly dataDir: string; readonly history: History };

/** A kill leaves a log that the journal is read with; a clean stop leaves none. */
async function loadAndEnd(
  site: Site,
  { undo, random }: CampaignOptions,
  { dataDir, history, name, cycle }: Run & { readonly name: string; readonly cycle: number },
): Promise<Workload> {
  const sidecar = new SidecarProcess(site, undo, { dataDir });
  await expectReady(sidecar);
  const { target } = sidecar;
  const workload = new Workload({ target, history, random: random.fork(), prefix: name });
  workload.start(CLIENTS);
  await pause(LOAD_MS);
  await (cycle % 2 === 1 ? sidecar.kill() : sidecar.stop());
  await workload.stop();
  await sidecar.close();
  return workload;
}

async function lookReadOnly(
  site: Site,
  { undo }: CampaignOptions,
  { dataDir, disk, history }: Run & { readonly disk: LoopDisk },
): Promise<{ readonly shown: number; readonly problems: readonly string[] }> {
  const problems: string[] = [];
  const sidecar = new SidecarProcess(site, undo, { dataDir });
  let shown = 0;
  if (await sidecar.isLive()) {
    const ready = await sidecar.probe('/readyz?verbose=true');
    if (ready?.status !== 503 || !ready.body.includes('read-only'))
      problems.push(`its readiness is ${JSON.stringify(ready)}`);
    const { client } = sidecar.target;
    const journal = (await client.health()).dataPlane.parts['journal'];
    if (journal?.state !== 'failed' || !journal.detail.startsWith('read-only: '))
      problems.push(`its health says ${JSON.stringify(journal)}`);
    const listed = await sidecar.target.listed();
    shown = listed.length;
    const keys = new Set(listed.map(({ idempotencyKey }) => idempotencyKey));
    for (const { request, end } of history.calls)
      if (request.kind === 'admit' && end?.kind === 'ok' && !keys.has(request.key))
        problems.push(`${request.key} was accepted and is not shown`);
    await client.recovery();
    problems.push(...(await answersToWrites(sidecar, listed[0]?.operationId ?? '')));
    disk.become('rw');
    const ended = await sidecar.untilEnded(END_BOUND_MS);
    if (ended?.code !== 1 || !ended.said.includes('takes writes again'))
      problems.push(`it did not end to be started anew: ${JSON.stringify(ended)}`);
  } else {
    disk.become('rw');
    problems.push(`it did not start: ${JSON.stringify(await sidecar.ended)}`);
  }
  await sidecar.close();
  return { shown, problems };
}

async function answersToWrites(sidecar: SidecarProcess, operationId: string): Promise<string[]> {
  const { client } = sidecar.target;
  const request = { principal: 'agent:worker', action: 'jobs.run', attributes: { amount: 1 } };
  const writes = {
    admit: () => client.admit(request, { idempotencyKey: 'while-read-only' }),
    cancel: () => client.cancel(operationId),
    'check of a fence': () => client.checkFence('orders/1', 1),
  };
  const problems: string[] = [];
  for (const [name, write] of Object.entries(writes)) {
    try {
      await write();
      problems.push(`${name} was acknowledged`);
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'journal_quarantined') continue;
      problems.push(`${name}: ${String(error)}`);
    }
  }
  return problems;
}
