/**
 * `POST /v1/decisions` of a sidecar, whose control is away, against Cerbos: the same requests over the
 * same number of connections from the same client, in turns, both alive on the machine all the time.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Supervisor } from '../../control/cli/dev/supervisor.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import { post } from './admit.ts';
import { median, type DecideOptions } from './decide-options.ts';
import { holdfastPolicy, sampleRequests, timedRequest } from './equivalent-policies.ts';
import { load, type LoadResult } from './http-load.ts';
import { startCerbos, type CerbosServer, type Rivals } from './rivals.ts';

export type HttpFigure = {
  readonly rules: number;
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly cerbosPerSecond: number | null;
  readonly cerbosP99Ms: number | null;
  readonly ratio: number | null;
  /** What a decision costs the server, all its threads together: the load of others is not in it. */
  readonly cpuUs: number;
  readonly cerbosCpuUs: number | null;
  readonly cpuRatio: number | null;
};

const PATH = '/v1/decisions';

/** `null` where this sidecar has no such route. */
export async function benchDecideHttp(
  options: DecideOptions,
  rivals: Rivals,
): Promise<HttpFigure[] | null> {
  const figures: HttpFigure[] = [];
  for (const rules of options.rules) {
    const figure = await measureAt(rules, options, rivals);
    if (figure === null) {
      options.say(`over HTTP: this sidecar has no ${PATH}, so nothing is measured there`);
      return null;
    }
    figures.push(figure);
  }
  return figures;
}

async function measureAt(
  rules: number,
  options: DecideOptions,
  { cerbosProgram }: Rivals,
): Promise<HttpFigure | null> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-decide-'));
  const { supervisor, sidecar } = await startSidecar(join(directory, 'holdfast'), rules, options);
  let cerbos: CerbosServer | null = null;
  try {
    if (!(await sidecar.hasRoute())) return null;
    if (cerbosProgram !== null) {
      mkdirSync(join(directory, 'cerbos'));
      const at = join(directory, 'cerbos');
      cerbos = await startCerbos(cerbosProgram, { rules, directory: at, say: options.say });
      await checkSameDecisions(rules, sidecar, cerbos);
    }
    return await measure(rules, options, { sidecar, cerbos });
  } finally {
    await cerbos?.stop();
    await supervisor.down();
    rmSync(directory, { recursive: true });
  }
}

/** Anything that decides over HTTP on this machine. */
type Server = Pick<CerbosServer, 'port' | 'pid' | 'permits' | 'request'>;

async function startSidecar(dataDir: string, rules: number, { say }: DecideOptions) {
  mkdirSync(dataDir);
  const policyFile = join(dataDir, 'policy.json');
  writeFileSync(policyFile, JSON.stringify(holdfastPolicy(rules)));
  const supervisor = await Supervisor.open({
    dataDir,
    controlPort: 0,
    sidecarPort: 0,
    policyFile,
    environment: process.env,
    clock: new SystemClock(),
    random: new SystemRandom(),
    logLevel: 'warn',
    onLine: (daemon, _stream, line) => say(`${daemon}: ${line}`),
    onEnd: () => undefined,
  });
  try {
    await supervisor.up();
    // Bounded decisions make no call to it (I10), and its CPU belongs to another machine.
    await supervisor.kill('control');
  } catch (error) {
    await supervisor.down();
    throw error;
  }
  const token = readFileSync(supervisor.files.appTokenFile, 'utf8').trim();
  return { supervisor, sidecar: sidecarServer(supervisor, token) };
}

function sidecarServer(
  supervisor: Supervisor,
  token: string,
): Server & { hasRoute(): Promise<boolean> } {
  const url = supervisor.url('sidecar');
  const ask = (input: DecisionInput): Promise<Response> =>
    fetch(`${url}${PATH}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'holdfast-request': '1',
        'content-type': 'application/json',
      },
      body: JSON.stringify(input),
    });
  return {
    port: Number(new URL(url).port),
    pid: supervisor.pid('sidecar') ?? 0,
    request: (input) =>
      post(PATH, token, JSON.stringify(input), { 'Content-Type': 'application/json' }),
    async permits(input) {
      const response = await ask(input);
      if (response.status !== 200) {
        throw new Error(`${PATH} answered ${response.status}: ${await response.text()}`);
      }
      return ((await response.json()) as { decision: string }).decision === 'permit';
    },
    hasRoute: async () => (await ask(timedRequest(1, 0))).status !== 404,
  };
}

async function checkSameDecisions(rules: number, sidecar: Server, cerbos: Server): Promise<void> {
  for (const input of sampleRequests(rules)) {
    if ((await sidecar.permits(input)) !== (await cerbos.permits(input))) {
      throw new Error(`Cerbos and Holdfast decide ${JSON.stringify(input)} differently`);
    }
  }
}

/** Of one server: the results of its rounds, and what each decision cost it. */
type Measured = { readonly result: LoadResult; readonly cpuUs: number };

/** A round of a slow server is cut to about this long. */
const ROUND_SECONDS_MAX = 4;
const REQUESTS_MIN = 500;

async function measure(
  rules: number,
  { rounds, requests, connections, say }: DecideOptions,
  { sidecar, cerbos }: { sidecar: Server; cerbos: Server | null },
): Promise<HttpFigure> {
  const servers = cerbos === null ? { sidecar } : { sidecar, cerbos };
  const measured = Object.entries(servers).map(([name, server]) => ({
    name,
    server,
    requests: Math.min(requests, REQUESTS_MIN),
    results: [] as Measured[],
  }));
  for (let round = 0; round <= rounds; round += 1) {
    for (const one of measured) {
      const { result, cpuUs } = await runLoad(one.server, {
        connections,
        requests: one.requests,
        request: (index) => one.server.request(timedRequest(rules, index)),
      });
      const { perSecond } = result;
      say(
        `${rules} rules over HTTP, round ${round}, ${one.name}: ${Math.round(perSecond)}/s, ${Math.round(cpuUs)} us of CPU each`,
      );
      const affordable = Math.max(REQUESTS_MIN, Math.round(perSecond * ROUND_SECONDS_MAX));
      one.requests = Math.min(requests, affordable);
      // The first one warms up.
      if (round > 0) one.results.push({ result, cpuUs });
    }
  }
  return figureOf(rules, measured[0]?.results ?? [], measured[1]?.results ?? null);
}

async function runLoad(
  { port, pid }: Server,
  given: { connections: number; requests: number; request: (index: number) => Buffer },
): Promise<Measured> {
  const before = processCpuUs(pid);
  const result = await load({ port, expectedStatus: 200, ...given });
  const cpuUs = (processCpuUs(pid) - before) / given.requests;
  const wrong = JSON.stringify(result.unexpected);
  if (wrong !== '{}') throw new Error(`it answered otherwise than 200: ${wrong}`);
  return { result, cpuUs };
}

const TICK_US = 10_000;

/** User and system time of all threads of a process, from `/proc`. */
function processCpuUs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

function figureOf(
  rules: number,
  own: readonly Measured[],
  theirs: readonly Measured[] | null,
): HttpFigure {
  const rate = (list: readonly Measured[]) => median(list.map(({ result }) => result.perSecond));
  const p99 = (list: readonly Measured[]) => median(list.map(({ result }) => result.p99Ms));
  const cpu = (list: readonly Measured[]) => median(list.map(({ cpuUs }) => cpuUs));
  return {
    rules,
    perSecond: rate(own),
    p99Ms: p99(own),
    cerbosPerSecond: theirs && rate(theirs),
    cerbosP99Ms: theirs && p99(theirs),
    ratio: theirs && rate(own) / rate(theirs),
    cpuUs: cpu(own),
    cerbosCpuUs: theirs && cpu(theirs),
    cpuRatio: theirs && cpu(theirs) / cpu(own),
  };
}
