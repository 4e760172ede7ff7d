/**
 * A shard handed over between two real sidecars at their normal interval, while work under its lease
 * is being done: from the order until the other one holds the lease.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimPort } from '../../control/cli/dev/free-port.ts';
import { ProblemError, openControl, type ControlClient } from '../../shared/client/index.ts';
import { adminTokenIn, startControl } from '../fakes/control-process.ts';
import { pause } from '../faults/pause.ts';
import { SidecarProcess } from '../faults/sidecar/sidecar-process.ts';
import { expectReady } from '../faults/subject.ts';
import { Undo } from '../faults/undo.ts';

export type HandOverFigures = {
  /** The middle one of them. */
  readonly handOverMs: number;
  readonly handOverSlowestMs: number;
  /** Of the slowest: from when the worker was told until its outcome was recorded. */
  readonly handOverDrainMs: number;
  /** Twice the interval, without its jitter, and that drain. */
  readonly handOverBoundMs: number;
};

type HandOver = { readonly tookMs: number; readonly drainMs: number };

const HAND_OVERS = 5;
const SYNC_INTERVAL_MS = 5_000;
const WORK_LEFT_MS = 1_000;
const GIVEN_UP_AFTER_MS = 60_000;
const POLL_MS = 25;
const RESOURCE = 'shards/one';
const TOKEN = 'hand-over-bench-token';
const POLICY = new URL('../faults/ownership/ownership-policy.yaml', import.meta.url);

type Host = { readonly hostId: string; readonly process: SidecarProcess };

export async function benchHandOver(say: (text: string) => void): Promise<HandOverFigures> {
  const undo = new Undo();
  const root = mkdtempSync(join(tmpdir(), 'holdfast-bench-hand-over-'));
  undo.add(root, () => rmSync(root, { recursive: true, force: true }));
  const control = startControl(join(root, 'control'));
  undo.add('control', () => void control.kill('SIGKILL'));
  try {
    const endpoint = await control.listening;
    const client = openControl({ endpoint, token: adminTokenIn(join(root, 'control')) });
    await client.publishPolicy(readFileSync(POLICY, 'utf8'), { format: 'yaml', replaces: null });
    let from = await startHost('host-a', { root, endpoint, client, undo });
    let to = await startHost('host-b', { root, endpoint, client, undo });
    const all: HandOver[] = [];
    for (let done = 0; done < HAND_OVERS; done += 1) {
      const one = await handOver(client, from, to);
      say(`handed over in ${Math.round(one.tookMs)} ms`);
      all.push(one);
      [from, to] = [to, from];
    }
    await client.close();
    for (const { process } of [from, to]) await process.close();
    await control.kill('SIGKILL');
    return figuresOf(all);
  } finally {
    undo.undoAll();
  }
}

function figuresOf(all: readonly HandOver[]): HandOverFigures {
  const sorted = all.toSorted((a, b) => a.tookMs - b.tookMs);
  const [middle, slowest] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  if (middle === undefined || slowest === undefined) throw new Error('nothing was handed over');
  return {
    handOverMs: middle.tookMs,
    handOverSlowestMs: slowest.tookMs,
    handOverDrainMs: slowest.drainMs,
    handOverBoundMs: 2 * SYNC_INTERVAL_MS + slowest.drainMs,
  };
}

async function startHost(
  name: string,
  at: {
    readonly root: string;
    readonly endpoint: string;
    readonly client: ControlClient;
    readonly undo: Undo;
  },
): Promise<Host> {
  const { root, endpoint, client, undo } = at;
  const { joinToken } = await client.createJoinToken({ hostName: name });
  const joinTokenFile = join(root, `${name}.join`);
  writeFileSync(joinTokenFile, joinToken, { mode: 0o600 });
  const apps = { apps: [{ name: 'worker', token: TOKEN, principals: ['*'], operator: true }] };
  const appsFile = join(root, 'apps.json');
  writeFileSync(appsFile, JSON.stringify(apps), { mode: 0o600 });
  const dataDir = join(root, name);
  mkdirSync(dataDir);
  const port = await claimPort(0, { flag: 'the benchmark' });
  const sidecar = new SidecarProcess({ root, template: '', appsFile, token: TOKEN, port }, undo, {
    dataDir,
    joinTokenFile,
    env: {
      HOLDFAST_CONTROL_URL: endpoint,
      HOLDFAST_HOST_NAME: name,
      HOLDFAST_SYNC_INTERVAL: `${SYNC_INTERVAL_MS}ms`,
    },
  });
  await expectReady(sidecar);
  const { items } = await client.hosts();
  const host = items.find(({ hostName }) => hostName === name);
  if (host === undefined) throw new Error(`${name} is not enrolled`);
  return { hostId: host.hostId, process: sidecar };
}

async function handOver(client: ControlClient, from: Host, to: Host): Promise<HandOver> {
  const app = from.process.target.client;
  const { operationId, attempt } = await beginWork(from);
  const orderedMs = performance.now();
  await client.transferLease(RESOURCE, { to: to.hostId });
  await come('the worker is told', async () => {
    const beat = await app.heartbeat({ operationId, attempt });
    return beat.leaseDraining;
  });
  const toldMs = performance.now();
  await pause(WORK_LEFT_MS);
  await app.reportOutcome({ operationId, attempt }, { outcome: 'succeeded' });
  const drainMs = performance.now() - toldMs;
  await come('the other one holds the lease', async () => {
    const leases = await to.process.target.client.leases();
    return leases.some(({ resource, state }) => resource === RESOURCE && state === 'held');
  });
  return { tookMs: performance.now() - orderedMs, drainMs };
}

/** An attempt at work under the lease, asked for until it is there. */
async function beginWork({
  process,
}: Host): Promise<{ readonly operationId: string; readonly attempt: number }> {
  const { client } = process.target;
  let begun: { operationId: string; attempt: number } | null = null;
  let tries = 0;
  await come('work begins', async () => {
    tries += 1;
    try {
      const { operation } = await client.admit(
        { principal: 'agent:worker', action: 'shards.write' },
        { idempotencyKey: `hand-over-${performance.now()}-${tries}` },
      );
      begun = await client.startAttempt(operation.operationId);
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
    }
    return begun !== null;
  });
  if (begun === null) throw new Error('no work began');
  return begun;
}

async function come(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const startedMs = performance.now();
  while (!(await isSo())) {
    if (performance.now() - startedMs > GIVEN_UP_AFTER_MS)
      throw new Error(`${what}: not within ${GIVEN_UP_AFTER_MS} ms`);
    await pause(POLL_MS);
  }
}
