/**
 * Requests drawn from a daemon's own description, right and broken, over many connections at once, while
 * the other daemon runs beside it as ever.
 *
 * A1  No crash, and every answer is one that `answer-judge.ts` allows.
 * A2  What the daemon needs of memory after a collection is, at the end, within a bound of what it needed
 *     after the first requests; what it has to remember of accepted work is allowed for.
 * A3  It then does its main job, and after a kill all that it acknowledged is there.
 */
import type { DaemonName, JoinedDaemons } from '../../faults/sidecar/joined-daemons.ts';
import { Draw } from '../draw.ts';
import {
  FINDINGS_MAX,
  Tally,
  type Finding,
  type FuzzOptions,
  type Fuzzer,
  type FuzzReport,
} from '../fuzzer.ts';
import type { Json } from '../values/from-schema.ts';
import { Acknowledged } from './acknowledged.ts';
import { judgeEnd } from './answer-judge.ts';
import { controlErrors, heapOf, startForFuzzing } from './api-site.ts';
import { Description, type OpenApi } from './description.ts';
import { HostCaller } from './host-caller.ts';
import { mainJobProblem } from './main-job.ts';
import { RequestMaker, type Ask, type Caller } from './request-maker.ts';
import { SeenValues } from './seen-values.ts';
import { WireClient, type WireEnd } from './wire-client.ts';

const CONNECTIONS = 24;
const PIPELINED_MAX = 4;
/** No request asks to wait for longer than 20 ms; the rest is room for a busy machine. */
const ANSWER_BOUND_MS = 20_000;
const CUT_AFTER_MS = 20;
const WARM_UP_SHARE = 0.1;
const WARM_UP_MAX = 10_000;
const MEBI = 1024 * 1024;
/** A2. Of the sidecar each operation that has not ended is remembered, and a key for each that has. */
const HEAP_GROWTH_MAX = 32 * MEBI;
const HEAP_OF_OPERATION = 1_500;

export const api: Fuzzer = {
  name: 'api',
  about: 'requests from the descriptions of both daemons, right and broken, at both of them',
  casesAtFirst: 200_000,
  run: async (options) => {
    const site = await startForFuzzing(options.undo);
    try {
      const first = await fuzzDaemon(site, 'sidecar', {
        ...options,
        // Where there is a bound of time, the other one is to have as much of it.
        isOver: () => options.isOver(0.5),
      });
      const second = await fuzzDaemon(site, 'control', options);
      return {
        counts: { ...first.counts, ...second.counts },
        findings: [...first.findings, ...second.findings],
      };
    } finally {
      await site.close('sidecar');
      await site.close('control');
    }
  },
};

async function fuzzDaemon(
  site: JoinedDaemons,
  name: DaemonName,
  options: FuzzOptions,
): Promise<FuzzReport> {
  const run = await ApiRun.open(site, name, options);
  return run.run();
}

class ApiRun {
  readonly #site: JoinedDaemons;
  readonly #name: DaemonName;
  readonly #options: FuzzOptions;
  readonly #description: Description;
  readonly #seen: SeenValues;
  readonly #maker: RequestMaker;
  readonly #host: HostCaller | null;
  readonly #acknowledged = new Acknowledged();
  readonly #tally = new Tally();
  readonly #findings: Finding[] = [];
  #next: number;
  #end: number;

  private constructor(parts: {
    site: JoinedDaemons;
    name: DaemonName;
    options: FuzzOptions;
    description: Description;
    host: HostCaller | null;
  }) {
    const { site, name, options, description, host } = parts;
    this.#site = site;
    this.#name = name;
    this.#options = options;
    this.#description = description;
    this.#host = host;
    this.#seen = new SeenValues(['admin', 'fuzz-host', 'fuzzed']);
    this.#maker = new RequestMaker(description, { seen: this.#seen, caller: callerOf(site, name) });
    this.#next = options.from;
    this.#end = options.from;
  }

  static async open(site: JoinedDaemons, name: DaemonName, options: FuzzOptions): Promise<ApiRun> {
    const answer = await fetch(`${site.urlOf(name)}/openapi.json`);
    const description = new Description((await answer.json()) as OpenApi);
    const host =
      name === 'control' ? await HostCaller.enrol(site.urlOf(name), site.adminToken) : null;
    return new ApiRun({ site, name, options, description, host });
  }

  async run(): Promise<FuzzReport> {
    const { cases, from } = this.#options;
    const warmUp = Math.min(WARM_UP_MAX, Math.ceil(cases * WARM_UP_SHARE));
    await this.#askUntil(from + warmUp);
    const operationsBefore = this.#acknowledged.operations.size;
    const isAlive = (await this.#ended()) === null;
    const before = isAlive ? await heapOf(this.#site, this.#name) : null;
    const startedMs = performance.now();
    await this.#askUntil(from + cases);
    const seconds = (performance.now() - startedMs) / 1_000;
    const after = (await this.#ended()) === null ? await heapOf(this.#site, this.#name) : null;
    const counts: Record<string, number | string> = {
      requests: this.#next - from,
      'requests/s': Math.round((this.#next - from - warmUp) / Math.max(0.001, seconds)),
      ...this.#tally.counts(),
    };
    if (before !== null && after !== null) {
      const operations = this.#acknowledged.operations.size - operationsBefore;
      const bound = HEAP_GROWTH_MAX + operations * HEAP_OF_OPERATION;
      const grown = after.heapUsed - before.heapUsed;
      counts['heap before, MiB'] = mebi(before.heapUsed);
      counts['heap after, MiB'] = mebi(after.heapUsed);
      counts['heap growth allowed, MiB'] = mebi(bound);
      counts['resident at the end, MiB'] = mebi(after.rss);
      if (grown > bound)
        this.#find(
          'memory grows',
          `${mebi(grown)} MiB more than after the first ${warmUp} requests`,
        );
    }
    await this.#checkPromises(counts);
    const named = Object.entries(counts).map(([key, value]) => [`${this.#name}: ${key}`, value]);
    return {
      counts: Object.fromEntries(named) as FuzzReport['counts'],
      findings: this.#findings,
    };
  }

  /** A3. */
  async #checkPromises(counts: Record<string, number | string>): Promise<void> {
    if ((await this.#ended()) !== null) return;
    const { say } = this.#options;
    say(`${this.#name}: does its main job once more`);
    const problem = await mainJobProblem(this.#site, `after-${this.#name}`);
    say(`${this.#name}: is killed and started again`);
    if (problem !== null)
      this.#find('the main job', `${problem}; control: ${controlErrors(this.#site)}`);
    await this.#site.close(this.#name);
    if (this.#name === 'sidecar') {
      for (const lost of this.#acknowledged.lostOperations(this.#site.journalPath))
        this.#find('an acknowledgement is lost', lost);
      counts['acknowledged operations, all there'] = this.#acknowledged.operations.size;
    }
    await this.#site.start(this.#name);
    if (this.#name === 'control') {
      const control = this.#site.controlClient();
      for (const lost of await this.#acknowledged.lostDecisions(control))
        this.#find('an acknowledgement is lost', lost);
      await control.close();
      counts['acknowledged decisions, all there'] = this.#acknowledged.decisions;
    }
    const again = await mainJobProblem(this.#site, `again-${this.#name}`);
    if (again !== null) this.#find('the main job after a kill', again);
  }

  async #ended(): Promise<string | null> {
    const end = await this.#site.endOf(this.#name);
    if (end !== null && !this.#findings.some(({ what }) => what === 'it ended'))
      this.#find('it ended', end);
    return end;
  }

  async #askUntil(end: number): Promise<void> {
    this.#end = end;
    const { say } = this.#options;
    const told = setInterval(
      () => say(`${this.#name}: ${this.#next - this.#options.from} requests`),
      10_000,
    );
    await Promise.all(Array.from({ length: CONNECTIONS }, () => this.#askOn()));
    clearInterval(told);
  }

  /** One caller: a connection that is kept, and others for what may cost it. */
  async #askOn(): Promise<void> {
    const port = this.#site.portOf(this.#name);
    let kept = new WireClient(port);
    let waiting: Promise<void>[] = [];
    while (
      this.#next < this.#end &&
      this.#findings.length < FINDINGS_MAX &&
      !this.#options.isOver()
    ) {
      const number = this.#next;
      this.#next += 1;
      const draw = Draw.ofCase(this.#options.seed, number);
      const ask = await this.#signed(this.#maker.make(draw), draw);
      if (ask.isAlone || isStream(ask)) {
        await this.#askAlone(ask, number, draw);
      } else {
        if (kept.isClosed) kept = new WireClient(port);
        const isHead = ask.method === 'HEAD';
        const end = kept.send(ask.bytes, { isHead, boundMs: ANSWER_BOUND_MS });
        waiting.push(end.then((came) => this.#judge(ask, number, came, draw)));
        if (waiting.length >= draw.between(1, PIPELINED_MAX)) {
          await Promise.all(waiting);
          waiting = [];
        }
      }
      if (number % 64 === 0 && (await this.#ended()) !== null) break;
    }
    await Promise.all(waiting);
    kept.close();
  }

  async #askAlone(ask: Ask, number: number, draw: Draw): Promise<void> {
    const client = new WireClient(this.#site.portOf(this.#name));
    const isHead = ask.method === 'HEAD';
    const end = client.send(ask.bytes, { isHead, boundMs: ANSWER_BOUND_MS });
    let timer: NodeJS.Timeout | undefined;
    if (ask.isCut || isStream(ask)) {
      const isAbrupt = draw.chance(0.3) || isStream(ask);
      timer = setTimeout(() => (isAbrupt ? client.close() : client.halfClose()), CUT_AFTER_MS);
    }
    this.#judge(ask, number, await end, draw);
    clearTimeout(timer);
    client.close();
  }

  #judge(ask: Ask, number: number, end: WireEnd, draw: Draw): void {
    this.#tally.add(`${ask.kind} requests`);
    this.#tally.add(
      end.kind === 'answer' ? `answered ${Math.floor(end.answer.status / 100)}xx` : end.kind,
    );
    if (end.kind === 'answer') {
      this.#seen.learn(end.answer, draw);
      this.#acknowledged.note(ask, end.answer);
    }
    const verdict = judgeEnd(this.#description, ask, end);
    if (verdict.kind === 'wrong') this.#find(verdict.what, verdict.detail, { number, ask });
  }

  #find(what: string, detail: string, about?: { number: number; ask: Ask }): void {
    // The same once more says nothing new, and would hide what else there is.
    const isSame = (one: Finding): boolean =>
      one.what === `${this.#name}: ${what}` && one.detail.slice(0, 60) === detail.slice(0, 60);
    if (this.#findings.length >= FINDINGS_MAX || this.#findings.some(isSame)) return;
    const input =
      about === undefined
        ? null
        : { daemon: this.#name, bytes: about.ask.bytes.toString('base64') };
    this.#findings.push({
      what: `${this.#name}: ${what}`,
      detail,
      case: about?.number ?? null,
      input,
    });
  }

  /** As a host, where only hosts come in. */
  async #signed(ask: Ask, draw: Draw): Promise<Ask> {
    if (this.#host === null || ask.kind === 'wire' || !isOfHosts(ask.target)) return ask;
    if (draw.chance(0.1)) return ask;
    const text = ask.bytes.toString('latin1');
    const headEnd = text.indexOf('\r\n\r\n') + 4;
    const body = ask.bytes.subarray(headEnd);
    const authorization = await this.#host.authorization({
      method: ask.method,
      target: ask.target,
      body,
    });
    const head = text
      .slice(0, headEnd)
      .replace(/^authorization: .*$/im, `authorization: ${authorization}`);
    return { ...ask, bytes: Buffer.concat([Buffer.from(head, 'latin1'), body]) };
  }
}

function isOfHosts(target: string): boolean {
  return /^\/v1\/(sync|reports|decisions|bundle|operations\/|hosts\/)/.test(target);
}

function isStream({ target }: Ask): boolean {
  return target.startsWith('/v1/config:watch');
}

function callerOf(site: JoinedDaemons, name: DaemonName): Caller {
  const token = name === 'control' ? site.adminToken : site.appToken;
  return {
    headers: {
      host: `127.0.0.1:${site.portOf(name)}`,
      authorization: `Bearer ${token}`,
      ...(name === 'sidecar' ? { 'holdfast-request': '1' } : {}),
    },
    hints: (field, draw) => HINTS[field]?.(draw),
  };
}

const ACTIONS = [
  'jobs.run',
  'jobs.run',
  'jobs.short',
  'jobs.limited',
  'shards.write',
  'tenants.delete',
];
const HINTS: Readonly<Record<string, (draw: Draw) => Json>> = {
  principal: (draw) => draw.one(['agent:worker', 'agent:worker', 'user:ann', 'agent:nobody']),
  action: (draw) => draw.one(ACTIONS),
  actions: (draw) => [draw.one(['jobs.*', 'jobs.run', '*'])],
  effect: (draw) => draw.one(['charge', 'notify', 'write', 'delete', 'none']),
  attempt: (draw) => draw.one([1, 1, 1, 2]),
  epoch: (draw) => draw.between(1, 100),
  outcome: (draw) => draw.one(['succeeded', 'failed']),
  resource: (draw) => draw.one(['orders/1', 'orders/2', 'shards/x']),
  amount: (draw) => draw.below(1_000),
  highWater: () => ({ policyRevision: 1, epoch: 0 }),
  key: (draw) => draw.one(['checkout.banner', 'routing.weights', 'some-key', 'none']),
  list: (draw) => draw.one(['admitted', 'completed', 'unfinished', 'refused', 'effects']),
  deadlineMs: (draw) => draw.one([1, 1_000, 60_000, 3_600_000]),
};

function mebi(bytes: number): number {
  return Math.round((bytes / MEBI) * 10) / 10;
}
