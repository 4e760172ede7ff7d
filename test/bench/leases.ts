/**
 * What leases cost control, as a process of its own on its own store: renewals in batches, and many
 * sidecars that sync at their interval, each over a connection of its own with requests that it
 * signs. The sidecars are in this process, on the same machine: what they take is taken from control.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlProcess } from '../fakes/control-process.ts';
import { benchHandOver, type HandOverFigures } from './hand-over.ts';
import { percentile } from './http-load.ts';
import { enrolFleet, residentKb } from './lease-fleet.ts';
import type { LeaseHost } from './lease-host.ts';

export type LeaseFigures = HandOverFigures & {
  readonly renewalsPerSecond: number;
  /** As fast as it goes: syncs wait for each other. */
  readonly renewalSyncP99Ms: number;
  /** At 5,000 renewals a second. */
  readonly pacedSyncP99Ms: number;
  readonly leasesPerSync: number;
  readonly sidecars: number;
  readonly syncsPerSecond: number;
  readonly syncP50Ms: number;
  readonly syncP99Ms: number;
  /** Without an answer, or refused; with more than a handful the rest are no figures. */
  readonly failedSyncs: number;
  readonly controlCores: number;
  /** That its event loop was ready to run and others of this machine ran: it holds the syncs up. */
  readonly controlWaitedCores: number;
  /** Of this process: with what it waited near 1, and it is what holds the syncs up. */
  readonly benchCores: number;
  readonly benchWaitedCores: number;
  readonly kbPerSidecar: number;
};

type RenewalFigures = Pick<
  LeaseFigures,
  'renewalsPerSecond' | 'renewalSyncP99Ms' | 'pacedSyncP99Ms'
>;

export type LeaseBenchOptions = {
  readonly sidecars: number;
  readonly rounds: number;
  readonly say: (text: string) => void;
};

const BATCH_HOSTS = 8;
const LEASES_PER_SYNC = 500;
const SYNC_INTERVAL_MS = 5_000;
/** All connect and are granted a lease: not at the pace of renewals. */
const FIRST_ROUND_MS = 40_000;
const PACED_PER_SECOND = 5_000;
/** Of the kernel: what `utime` and `stime` are counted in. */
const TICKS_PER_SECOND = 100;

export async function benchLeases(options: LeaseBenchOptions): Promise<LeaseFigures> {
  const { sidecars, rounds, say } = options;
  const handOver = await benchHandOver(say);
  const root = mkdtempSync(join(tmpdir(), 'holdfast-bench-leases-'));
  const listen = ['--data-dir', root, '--listen', '127.0.0.1:0'];
  const control = new ControlProcess([...listen, '--lease-ttl', '60s']);
  try {
    const url = await control.listening;
    const batch = await enrolFleet(url, root, { count: BATCH_HOSTS, prefix: 'batch' });
    const renewals = await renewInBatches(batch, rounds, say);
    await Promise.all(batch.map((host) => host.close()));
    const many = await enrolFleet(url, root, { count: sidecars, prefix: 'many' });
    say(`${many.length} sidecars enrolled`);
    const fleet = await syncFleet(many, control.pid, rounds, say);
    await Promise.all(many.map((host) => host.close()));
    return { ...handOver, ...renewals, leasesPerSync: LEASES_PER_SYNC, sidecars, ...fleet };
  } finally {
    await control.kill('SIGKILL');
    rmSync(root, { recursive: true, force: true });
  }
}

async function renewInBatches(
  hosts: readonly LeaseHost[],
  rounds: number,
  say: (text: string) => void,
): Promise<RenewalFigures> {
  for (const [index, host] of hosts.entries()) {
    const names = Array.from({ length: LEASES_PER_SYNC }, (_, at) => `batch/${index}/${at}`);
    await host.sync(names);
    if (host.held.length !== LEASES_PER_SYNC) throw new Error(`${host.held.length} were granted`);
  }
  const tookMs: number[] = [];
  const startedMs = performance.now();
  const endMs = startedMs + rounds * 1_000;
  const renew = async (host: LeaseHost): Promise<void> => {
    while (performance.now() < endMs) tookMs.push(await host.sync());
  };
  await Promise.all(hosts.map(renew));
  const seconds = (performance.now() - startedMs) / 1_000;
  const renewalsPerSecond = (tookMs.length * LEASES_PER_SYNC) / seconds;
  const sorted = Float64Array.from(tookMs).toSorted();
  const renewalSyncP99Ms = percentile(sorted, 0.99);
  say(
    `${Math.round(renewalsPerSecond)} renewals/s, p99 of a sync ${renewalSyncP99Ms.toFixed(1)} ms`,
  );
  const pacedSyncP99Ms = await pacedP99(hosts, rounds);
  return { renewalsPerSecond, renewalSyncP99Ms, pacedSyncP99Ms };
}

async function pacedP99(hosts: readonly LeaseHost[], rounds: number): Promise<number> {
  const everyMs = (1_000 * LEASES_PER_SYNC) / PACED_PER_SECOND;
  const startedMs = performance.now();
  const tookMs: number[] = [];
  const syncs: Promise<void>[] = [];
  for (let count = 0; count * everyMs < rounds * 1_000; count += 1) {
    await until(startedMs + count * everyMs);
    const host = hosts[count % hosts.length];
    if (host !== undefined) syncs.push(host.sync().then((ms) => void tookMs.push(ms)));
  }
  await Promise.all(syncs);
  return percentile(Float64Array.from(tookMs).toSorted(), 0.99);
}

async function syncFleet(
  hosts: readonly LeaseHost[],
  pid: number,
  rounds: number,
  say: (text: string) => void,
): Promise<
  Omit<LeaseFigures, keyof (RenewalFigures & HandOverFigures) | 'leasesPerSync' | 'sidecars'>
> {
  const emptyKb = residentKb(pid);
  const tookMs: number[] = [];
  let failed = 0;
  const round = async (isFirst: boolean): Promise<void> => {
    const startedMs = performance.now();
    const lastsMs = isFirst ? FIRST_ROUND_MS : SYNC_INTERVAL_MS;
    const syncs = hosts.map(async (host, index) => {
      await until(startedMs + (index / hosts.length) * lastsMs);
      try {
        const ms = await host.sync(isFirst ? [`fleet/${index}`] : []);
        if (!isFirst) tookMs.push(ms);
      } catch (error) {
        failed += 1;
        if (failed === 1) say(`a sync failed: ${String(error)}`);
      }
    });
    await Promise.all(syncs);
    await until(startedMs + lastsMs);
  };
  await round(true);
  const before = {
    cpuS: cpuSeconds(pid),
    own: process.cpuUsage(),
    waitedS: waitedSeconds(pid),
    ownWaitedS: waitedSeconds(process.pid),
    ms: performance.now(),
  };
  for (let done = 0; done < rounds; done += 1) await round(false);
  const seconds = (performance.now() - before.ms) / 1_000;
  const controlCores = (cpuSeconds(pid) - before.cpuS) / seconds;
  const own = process.cpuUsage(before.own);
  const kbPerSidecar = (residentKb(pid) - emptyKb) / hosts.length;
  const sorted = Float64Array.from(tookMs).toSorted();
  const figures = {
    syncsPerSecond: tookMs.length / seconds,
    syncP50Ms: percentile(sorted, 0.5),
    syncP99Ms: percentile(sorted, 0.99),
    failedSyncs: failed,
    controlCores,
    controlWaitedCores: (waitedSeconds(pid) - before.waitedS) / seconds,
    benchWaitedCores: (waitedSeconds(process.pid) - before.ownWaitedS) / seconds,
    benchCores: (own.user + own.system) / 1_000_000 / seconds,
    kbPerSidecar,
  };
  say(
    `${Math.round(figures.syncsPerSecond)} syncs/s, control takes ${controlCores.toFixed(2)} cores and waits for ${figures.controlWaitedCores.toFixed(2)}`,
  );
  return figures;
}

function until(whenMs: number): Promise<void> {
  const waitMs = whenMs - performance.now();
  if (waitMs <= 0) return Promise.resolve();
  return new Promise((resolve) => setTimeout(resolve, waitMs));
}

function cpuSeconds(pid: number): number {
  const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ', 2);
  const fields = rest.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** What the first thread of a process, its event loop, has waited for a processor. */
function waitedSeconds(pid: number): number {
  const [, waitedNs] = readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ');
  return Number(waitedNs) / 1e9;
}
