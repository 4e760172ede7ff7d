/**
 * One host and one control: the upstream parts over a real directory, a fake clock and the fake
 * control.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildUpstream, type Upstream } from '../../dataplane/upstream/build-upstream.ts';
import type { UpstreamMetrics } from '../../dataplane/upstream/upstream-metrics.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import { createLogger, type Logger } from '../../shared/platform/logger.ts';
import type { Pause } from '../../shared/platform/slices.ts';
import { runTasks } from '../../shared/platform/task-group.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeControl } from './fake-control.ts';
import { FakeRandom } from './fake-random.ts';
import { MemoryJournalFeed } from './memory-journal-feed.ts';
import { settleCrypto, settleUntil } from './pending-crypto.ts';

export const SYNC_INTERVAL_MS = 5_000;
export const REQUEST_TIMEOUT_MS = 2_000;
export const FRESH_TIMEOUT_MS = 1_000;

export class CountingMetrics implements UpstreamMetrics {
  readonly values = new Map<string, number>();

  add(name: string, labels: Readonly<Record<string, string | number>> = {}, amount = 1): void {
    const key = keyOf(name, labels);
    this.values.set(key, (this.values.get(key) ?? 0) + amount);
  }

  set(name: string, value: number, labels: Readonly<Record<string, string | number>> = {}): void {
    this.values.set(keyOf(name, labels), value);
  }

  value(name: string, labels: Readonly<Record<string, string | number>> = {}): number {
    return this.values.get(keyOf(name, labels)) ?? 0;
  }
}

export class UpstreamWorld {
  readonly clock: FakeClock;
  readonly control: FakeControl;
  readonly feed = new MemoryJournalFeed();
  readonly dataDir = mkdtempSync(join(tmpdir(), 'holdfast-upstream-'));
  readonly logged: { msg: string; level: string }[] = [];
  readonly logger: Logger;
  metrics = new CountingMetrics();
  upstream!: Upstream;
  running: Promise<void> = Promise.resolve();
  joinToken: string | undefined;
  compile = compileCel;
  /** A test lets what can go on go on; the real one would hand the clock to the test in between. */
  pause: Pause = () => Promise.resolve();
  #seed = 1;
  #stop = new AbortController();

  private constructor(clock: FakeClock, control: FakeControl) {
    this.clock = clock;
    this.control = control;
    this.joinToken = control.joinToken();
    const destination = {
      write: (line: string) => void this.logged.push(JSON.parse(line) as never),
    };
    this.logger = createLogger({ name: 'test', level: 'debug', destination });
  }

  static async create(clock = new FakeClock()): Promise<UpstreamWorld> {
    return new UpstreamWorld(clock, await FakeControl.start(clock));
  }

  /** Loads what is on disk, and no more. */
  async open(): Promise<void> {
    this.metrics = new CountingMetrics();
    this.upstream = buildUpstream({
      dataDir: this.dataDir,
      config: {
        controlUrl: 'http://control.test:7480',
        hostName: 'host-1',
        ...(this.joinToken === undefined ? {} : { joinToken: this.joinToken }),
        syncIntervalMs: SYNC_INTERVAL_MS,
        requestTimeoutMs: REQUEST_TIMEOUT_MS,
        freshTimeoutMs: FRESH_TIMEOUT_MS,
        bundleWaitMs: 30_000,
      },
      clock: this.clock,
      random: new FakeRandom((this.#seed += 1)),
      logger: this.logger,
      metrics: this.metrics,
      journalFeed: this.feed,
      settled: () => Promise.resolve(),
      transport: this.control,
      compile: this.compile,
      pause: this.pause,
      loopUse: () => 0,
    });
    await this.upstream.open();
  }

  run(): void {
    this.#stop = new AbortController();
    this.running = runTasks(this.upstream.tasks, this.#stop.signal);
    this.running.catch(() => undefined);
  }

  async start(): Promise<void> {
    await this.open();
    this.run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.running;
  }

  async restart(between: () => void = () => undefined): Promise<void> {
    await this.stop();
    between();
    await this.start();
  }

  /** Enrolled, synced, and with `document` in force as revision 1. */
  async startWithPolicy(document: PolicyDocument = policyDocument()): Promise<void> {
    await this.control.publish(1, document);
    await this.start();
    await this.until(
      () => this.revision() === 1 && this.staleness() !== null,
      'revision 1 in force',
    );
  }

  revision(): number | null {
    return this.upstream.policy.activePolicy()?.policyRevision ?? null;
  }

  staleness(): number | null {
    return this.upstream.policy.stalenessMs(this.clock.now());
  }

  /** Lets real work (signatures, disk) go on, without time passing, until it is so. */
  async until(isSo: () => boolean, what: string): Promise<void> {
    if (await settleUntil(isSo, 500)) return;
    throw new Error(`it never came to be: ${what}`);
  }

  /** Time passes in small steps until it is so; every step is let settle. */
  async passUntil(isSo: () => boolean, what: string, limitMs = 180_000): Promise<void> {
    const endMs = this.clock.now().bootMs + limitMs;
    await this.settle();
    while (!isSo()) {
      if (this.clock.now().bootMs > endMs) throw new Error(`it never came to be: ${what}`);
      await this.clock.advance(100);
      await this.settle();
    }
  }

  async pass(durationMs: number): Promise<void> {
    const endMs = this.clock.now().bootMs + durationMs;
    await this.settle();
    while (this.clock.now().bootMs < endMs) {
      await this.clock.advance(Math.min(250, endMs - this.clock.now().bootMs));
      await this.settle();
    }
  }

  /** Everything that can go on without time passing has gone on. */
  settle(): Promise<void> {
    return settleCrypto();
  }

  hasLogged(message: string): boolean {
    return this.logged.some(({ msg }) => msg.includes(message));
  }

  async dispose(): Promise<void> {
    this.#stop.abort();
    await this.running.catch(() => undefined);
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

export function policyDocument(limit = 100): PolicyDocument {
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [
      {
        name: 'capture',
        actions: ['payments.capture'],
        permit: [{ expression: `attributes.amount <= ${limit}` }],
      },
    ],
  };
}

function keyOf(name: string, labels: Readonly<Record<string, string | number>>): string {
  const parts = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
  return `${name}{${parts.join(',')}}`;
}
