/**
 * Sidecars that come back to a control that has just started, all in the same moment, over sockets of
 * their own: how many rounds and how long until the last is in, what an operator waits meanwhile
 * against what he waits when nobody comes back, and what control takes of memory for it. Each does
 * as a sidecar does: it comes when it was told to.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { ControlProcess, adminTokenIn } from '../fakes/control-process.ts';
import { percentile } from './http-load.ts';
import { enrolFleet, residentKb } from './lease-fleet.ts';
import type { LeaseHost, SyncTry } from './lease-host.ts';
import type { OperatorData } from './operator-thread.ts';

export type ReconnectFigures = {
  readonly sidecars: number;
  readonly reconnectRate: number;
  readonly secondsUntilAllIn: number;
  readonly asksPerSidecar: number;
  readonly asksMax: number;
  /** Of those that were not in control's bucket at once: refused, and with no answer at all. */
  readonly deferred: number;
  readonly lost: number;
  readonly leasesHeldBefore: number;
  readonly leasesLost: number;
  readonly othersP99QuietMs: number;
  readonly othersP99Ms: number;
  readonly othersP99Ratio: number;
  readonly kbPerSidecar: number;
};

export type ReconnectOptions = {
  readonly sidecars: number;
  readonly say: (text: string) => void;
};

const RATE = 500;
/** Every so many sidecars holds a lease. */
const HOLDERS_EVERY = 4;
const WARM_UP_MS = 2_000;
const QUIET_MS = 5_000;

export async function benchReconnect({
  sidecars,
  say,
}: ReconnectOptions): Promise<ReconnectFigures> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-bench-reconnect-'));
  const listen = (at: string): string[] => [
    '--data-dir',
    root,
    '--listen',
    at,
    '--lease-ttl',
    '60s',
    '--reconnect-rate',
    `${RATE}`,
  ];
  let control = new ControlProcess(listen('127.0.0.1:0'));
  const hosts: LeaseHost[] = [];
  try {
    const url = await control.listening;
    hosts.push(...(await enrolFleet(url, root, { count: sidecars, prefix: 'back' })));
    const holders = hosts.filter((_, index) => index % HOLDERS_EVERY === 0);
    for (const [index, host] of holders.entries()) await acquire(host, `fleet/${index}`);
    say(`${hosts.length} sidecars enrolled, ${holders.length} of them hold a lease`);
    await control.kill('SIGKILL');
    control = new ControlProcess(listen(new URL(url).host));
    await control.listening;
    const operator = new Operator(url, root);
    await sleep(WARM_UP_MS);
    await operator.take();
    await sleep(QUIET_MS);
    const quiet = await operator.take();
    const emptyKb = residentKb(control.pid);
    const startedMs = performance.now();
    const came = await Promise.all(hosts.map(comeBack));
    const seconds = (performance.now() - startedMs) / 1_000;
    const during = await operator.take();
    await operator.end();
    const asks = came.map(({ asks: count }) => count);
    const figures = {
      sidecars,
      reconnectRate: RATE,
      secondsUntilAllIn: seconds,
      asksPerSidecar: asks.reduce((sum, count) => sum + count, 0) / asks.length,
      asksMax: Math.max(...asks),
      deferred: asks.filter((count) => count > 1).length,
      lost: came.filter(({ isIn }) => !isIn).length,
      leasesHeldBefore: holders.length,
      leasesLost: came.reduce((sum, { leasesLost }) => sum + leasesLost, 0),
      othersP99QuietMs: p99(quiet),
      othersP99Ms: p99(during),
      othersP99Ratio: p99(during) / p99(quiet),
      kbPerSidecar: (residentKb(control.pid) - emptyKb) / sidecars,
    };
    say(`all in after ${seconds.toFixed(1)} s`);
    return figures;
  } finally {
    await Promise.all(hosts.map((host) => host.close()));
    await control.kill('SIGKILL');
    rmSync(root, { recursive: true, force: true });
  }
}

/** The first grants of all come at the pace of control as well. */
async function acquire(host: LeaseHost, resource: string): Promise<void> {
  for (;;) {
    const answer = await host.trySync([resource]);
    if (answer.kind === 'answered') return;
    await sleep(answer.kind === 'deferred' ? answer.retryAfterMs : 100);
  }
}

const ASKS_MAX = 50;

async function comeBack(
  host: LeaseHost,
): Promise<{ asks: number; isIn: boolean; leasesLost: number }> {
  for (let asks = 1; asks <= ASKS_MAX; asks += 1) {
    const answer: SyncTry = await host.trySync();
    if (answer.kind === 'answered') return { asks, isIn: true, leasesLost: answer.lost };
    const waitMs = answer.kind === 'deferred' ? answer.retryAfterMs : 500;
    await sleep(waitMs * (1 + 0.2 * Math.random()));
  }
  return { asks: ASKS_MAX, isIn: false, leasesLost: 0 };
}

/** See `operator-thread.ts`. */
class Operator {
  readonly #worker: Worker;

  constructor(endpoint: string, dataDir: string) {
    const data: OperatorData = { endpoint, token: adminTokenIn(dataDir) };
    this.#worker = new Worker(new URL('./operator-thread.ts', import.meta.url), {
      workerData: data,
    });
  }

  /** How long each answer took since the last time that it was asked so. */
  async take(): Promise<number[]> {
    this.#worker.postMessage('take');
    const [tookMs] = (await once(this.#worker, 'message')) as [number[]];
    return tookMs;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

function p99(tookMs: readonly number[]): number {
  return percentile(Float64Array.from(tookMs).toSorted(), 0.99);
}

function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}
