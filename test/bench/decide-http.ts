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
type Server = Pick<CerbosServer, 'port' | 'permits' | 'request'>;

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
  return { supervisor, sidecar: sidecarServer(supervisor.url('sidecar'), token) };
}

function sidecarServer(url: string, token: string): Server & { hasRoute(): Promise<boolean> } {
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

async function measure(
  rules: number,
  { rounds, requests, connections, say }: DecideOptions,
  { sidecar, cerbos }: { sidecar: Server; cerbos: Server | null },
): Promise<HttpFigure> {
  const run = async (name: string, server: Server): Promise<LoadResult> => {
    const result = await load({
      port: server.port,
      connections,
      requests,
      expectedStatus: 200,
      request: (index) => server.request(timedRequest(rules, index)),
    });
    const wrong = JSON.stringify(result.unexpected);
    if (wrong !== '{}') throw new Error(`${name} answered otherwise than 200: ${wrong}`);
    return result;
  };
  const own: LoadResult[] = [];
  const theirs: LoadResult[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const mine = await run('Holdfast', sidecar);
    const other = cerbos === null ? null : await run('Cerbos', cerbos);
    const beside = other === null ? '' : `, Cerbos ${Math.round(other.perSecond)}/s`;
    say(`${rules} rules over HTTP, round ${round}: ${Math.round(mine.perSecond)}/s${beside}`);
    // The first one warms up.
    if (round === 0) continue;
    own.push(mine);
    if (other !== null) theirs.push(other);
  }
  const of = (results: readonly LoadResult[], field: 'perSecond' | 'p99Ms'): number =>
    median(results.map((result) => result[field]));
  const hasRival = theirs.length > 0;
  const perSecond = of(own, 'perSecond');
  const cerbosPerSecond = hasRival ? of(theirs, 'perSecond') : null;
  return {
    rules,
    perSecond,
    p99Ms: of(own, 'p99Ms'),
    cerbosPerSecond,
    cerbosP99Ms: hasRival ? of(theirs, 'p99Ms') : null,
    ratio: cerbosPerSecond === null ? null : perSecond / cerbosPerSecond,
  };
}
