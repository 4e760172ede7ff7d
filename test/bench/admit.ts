/**
 * Admission, durable before the answer, against a bare route, in turns in one run on one machine; and
 * what an fdatasync of this disk costs by itself.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Supervisor } from '../../control/cli/dev/supervisor.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import { BATCH_ITEMS_MAX } from '../../shared/wire/sidecar-api.ts';
import { benchPolicy } from './bench-policy.ts';
import { load, percentile, type LoadResult } from './http-load.ts';

export type AdmitFigures = {
  readonly bareRps: number;
  readonly admitRps: number;
  readonly ratio: number;
  readonly bareP50Ms: number;
  readonly bareP99Ms: number;
  readonly admitP50Ms: number;
  readonly admitP99Ms: number;
  readonly fdatasyncP50Ms: number;
  readonly fdatasyncP99Ms: number;
  readonly batchOpsPerSecond: number;
  readonly rssMb: number;
  readonly bytesPerOperation: number;
  readonly rounds: number;
  readonly requestsPerRound: number;
  readonly connections: number;
};

export type AdmitOptions = {
  readonly rounds: number;
  readonly requests: number;
  readonly connections: number;
  readonly say: (text: string) => void;
};

const BATCHES = 20;
/** One is parsed and decided while another is on its way to the disk. */
const BATCH_CONNECTIONS = 4;

export async function benchAdmit(options: AdmitOptions): Promise<AdmitFigures> {
  const dataDir = mkdtempSync(join(tmpdir(), 'bench-admit-'));
  const policyFile = join(dataDir, 'policy.json');
  writeFileSync(policyFile, JSON.stringify(benchPolicy()));
  const supervisor = await Supervisor.open({
    dataDir,
    controlPort: 0,
    sidecarPort: 0,
    policyFile,
    environment: process.env,
    clock: new SystemClock(),
    random: new SystemRandom(),
    logLevel: 'warn',
    onLine: (daemon, _stream, line) => options.say(`${daemon}: ${line}`),
    onEnd: () => undefined,
  });
  const bare = await startBare();
  try {
    await supervisor.up();
    const sidecar = supervisor.openSidecarClient();
    await sidecar.acquireLease('bench/s0');
    await sidecar.close();
    // Its CPU belongs to another machine; bounded admission makes no call to it (I10).
    await supervisor.kill('control');
    return await measure(options, { supervisor, barePort: bare.port, dataDir });
  } finally {
    await supervisor.down();
    await bare.stop();
    rmSync(dataDir, { recursive: true });
  }
}

async function measure(
  { rounds, requests, connections, say }: AdmitOptions,
  { supervisor, barePort, dataDir }: { supervisor: Supervisor; barePort: number; dataDir: string },
): Promise<AdmitFigures> {
  const token = readFileSync(supervisor.files.appTokenFile, 'utf8').trim();
  const sidecarPort = Number(new URL(supervisor.url('sidecar')).port);
  const common = { connections, requests, expectedStatus: 201 };
  const run = async (name: string, port: number, round: number): Promise<LoadResult> => {
    const result = await load({
      ...common,
      port,
      request: (index) => admission(token, `${round}-${index}`),
    });
    const wrong = JSON.stringify(result.unexpected);
    if (wrong !== '{}') throw new Error(`${name} answered otherwise than 201: ${wrong}`);
    say(
      `round ${round} ${name}: ${Math.round(result.perSecond)}/s, p99 ${result.p99Ms.toFixed(1)} ms`,
    );
    return result;
  };
  await run('bare, warm-up', barePort, 0);
  await run('admit, warm-up', sidecarPort, 0);
  const bares: LoadResult[] = [];
  const admits: LoadResult[] = [];
  const batches: number[] = [];
  await batchRate(sidecarPort, token, 'b0', say);
  for (let round = 1; round <= rounds; round += 1) {
    bares.push(await run('bare', barePort, round));
    admits.push(await run('admit', sidecarPort, round));
    batches.push(await batchRate(sidecarPort, token, `b${round}`, say));
  }
  const sync = fdatasyncLatencies(dataDir);
  const operations = (rounds + 1) * (requests + BATCHES * BATCH_ITEMS_MAX);
  await checkCount(supervisor, operations);
  const median = (results: readonly LoadResult[], field: 'perSecond' | 'p50Ms' | 'p99Ms'): number =>
    percentile(Float64Array.from(results.map((result) => result[field])).toSorted(), 0.5);
  const bareRps = median(bares, 'perSecond');
  const admitRps = median(admits, 'perSecond');
  return {
    bareRps,
    admitRps,
    ratio: admitRps / bareRps,
    bareP50Ms: median(bares, 'p50Ms'),
    bareP99Ms: median(bares, 'p99Ms'),
    admitP50Ms: median(admits, 'p50Ms'),
    admitP99Ms: median(admits, 'p99Ms'),
    fdatasyncP50Ms: percentile(sync, 0.5),
    fdatasyncP99Ms: percentile(sync, 0.99),
    batchOpsPerSecond: percentile(Float64Array.from(batches).toSorted(), 0.5),
    rssMb: residentBytes(supervisor.pid('sidecar') ?? 0) / 1_048_576,
    bytesPerOperation: directoryBytes(join(supervisor.files.sidecarDir, 'journal')) / operations,
    rounds,
    requestsPerRound: requests,
    connections,
  };
}

/** Operations a second, of batches of the largest size. */
async function batchRate(
  port: number,
  token: string,
  prefix: string,
  say: (text: string) => void,
): Promise<number> {
  const batches = Array.from({ length: BATCHES }, (_, batch) => {
    const lines = Array.from({ length: BATCH_ITEMS_MAX }, (__, index) => {
      const idempotencyKey = `${prefix}-${batch}-${index}`;
      return JSON.stringify({ idempotencyKey, ...operationOf(idempotencyKey) });
    });
    return post('/v1/operations:batch', token, lines.join('\n'), {
      'Content-Type': 'application/x-ndjson',
    });
  });
  const result = await load({
    port,
    connections: BATCH_CONNECTIONS,
    requests: BATCHES,
    expectedStatus: 200,
    request: (index) => batches[index] ?? Buffer.alloc(0),
  });
  const wrong = JSON.stringify(result.unexpected);
  if (wrong !== '{}') throw new Error(`batches were answered otherwise than 200: ${wrong}`);
  const perSecond = result.perSecond * BATCH_ITEMS_MAX;
  say(`${prefix} batches of ${BATCH_ITEMS_MAX}: ${Math.round(perSecond)} operations/s`);
  return perSecond;
}

/** A verdict that is no admission would not show in the status of a batch. */
async function checkCount(supervisor: Supervisor, expected: number): Promise<void> {
  const client = supervisor.openSidecarClient();
  const { journal } = await client.status();
  await client.close();
  const admitted = Object.values(journal.operations).reduce((sum, count) => sum + count, 0);
  if (admitted !== expected)
    throw new Error(`${expected} operations were sent and ${admitted} are recorded`);
}

const operationOf = (key: string) => ({
  principal: 'agent:bench',
  action: 'bench.charge',
  resource: { id: `order-${key}`, attributes: { shard: 's0' } },
  attributes: { amount: 20, currency: 'EUR' },
});

export function admission(token: string, key: string): Buffer {
  return post('/v1/operations', token, JSON.stringify(operationOf(key)), {
    'Idempotency-Key': key,
    'Content-Type': 'application/json',
  });
}

export function post(
  path: string,
  token: string,
  body: string,
  headers: Readonly<Record<string, string>>,
): Buffer {
  const lines = Object.entries({
    Host: '127.0.0.1',
    Authorization: `Bearer ${token}`,
    'Holdfast-Request': '1',
    'Content-Length': Buffer.byteLength(body),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
}

async function startBare(): Promise<{ port: number; stop: () => Promise<void> }> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./bare-server.ts', import.meta.url))],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return {
    port: Number(line),
    stop: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}

const SYNC_ROUNDS = 300;

/** One page appended and synced, as often as it takes to know the disk: sorted, in ms. */
function fdatasyncLatencies(directory: string): Float64Array {
  const file = openSync(join(directory, 'sync-probe'), 'w');
  const page = Buffer.alloc(4_096, 1);
  const latencies = new Float64Array(SYNC_ROUNDS);
  for (let round = 0; round < SYNC_ROUNDS; round += 1) {
    const startedMs = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    latencies[round] = performance.now() - startedMs;
  }
  closeSync(file);
  return latencies.toSorted();
}

function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
  return pages * 4_096;
}

function directoryBytes(directory: string): number {
  // The ballast is of one size however many operations there are.
  const names = readdirSync(directory).filter((name) => !name.endsWith('.ballast'));
  return names.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
}
