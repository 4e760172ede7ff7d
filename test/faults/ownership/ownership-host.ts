/** One host of the campaign: a real sidecar behind its wire, its worker, and who asks what it holds. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProblemError, UnreachableError } from '../../../shared/client/index.ts';
import { pause } from '../pause.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import type { Site } from '../sidecar/site.ts';
import type { Undo } from '../undo.ts';
import type { HostWire } from './host-wire.ts';
import type { OwnershipRecord } from './ownership-record.ts';

export const RESOURCE = 'shards/one';
const LOOK_MS = 40;
const WORK_MS = 60;
const HOUR_S = 3_600;
/** All begin an hour ago, so that the copy of control is an hour old when the rest begins. */
export const FIRST_HOURS = -1;

export class OwnershipHost {
  readonly name: string;
  readonly wire: HostWire;
  readonly process: SidecarProcess;
  /** The newest token that its worker was given. */
  lastEpoch: number | null = null;
  refusedWork = 0;
  doneWork = 0;
  readonly #record: OwnershipRecord;
  readonly #clocks: { readonly wall: string; readonly uptime: string };
  #isStopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(parts: {
    readonly name: string;
    readonly site: Site;
    readonly undo: Undo;
    readonly record: OwnershipRecord;
    readonly wire: HostWire;
    /** Of control, over the wire. */
    readonly url: string;
    readonly joinTokenFile: string;
    /** That moves the wall clock. */
    readonly library: string;
  }) {
    const { name, site, undo, record, wire, url, joinTokenFile } = parts;
    this.name = name;
    this.wire = wire;
    this.#record = record;
    this.#clocks = {
      wall: join(site.root, `${name}.wall-clock`),
      uptime: join(site.root, `${name}.uptime`),
    };
    this.stepWallClock(FIRST_HOURS);
    this.jumpBootClock(0);
    this.process = new SidecarProcess(site, undo, {
      dataDir: join(site.root, name),
      joinTokenFile,
      under: [...(wire.network?.command ?? []), ...this.#clockedCommand(parts.library)],
      ...(wire.network === null ? {} : { socketPath: join(site.root, `${name}.sock`) }),
      callTimeoutMs: 60_000,
      env: {
        HOLDFAST_CONTROL_URL: url,
        HOLDFAST_HOST_NAME: name,
        HOLDFAST_SYNC_INTERVAL: '1s',
        HOLDFAST_REQUEST_TIMEOUT: '3s',
      },
    });
  }

  /**
   * In mounts of its own, with a file of ours for the uptime that the kernel tells, and a library
   * that moves the wall clock alone.
   */
  #clockedCommand(library: string): string[] {
    const script = [
      'mount --bind "$0" /proc/uptime',
      `exec env LD_PRELOAD=${library} FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 FAKETIME_TIMESTAMP_FILE="$1" "\${@:2}"`,
    ].join(' && ');
    return ['unshare', '-m', 'bash', '-c', script, this.#clocks.uptime, this.#clocks.wall];
  }

  stepWallClock(hours: number): void {
    const seconds = hours * HOUR_S;
    writeFileSync(this.#clocks.wall, `${seconds < 0 ? '' : '+'}${seconds}\n`);
  }

  /** It stands still otherwise: a clock that counts on by itself takes the later of the two. */
  jumpBootClock(seconds: number): void {
    const [uptime = '0'] = readFileSync('/proc/uptime', 'utf8').split(' ');
    writeFileSync(this.#clocks.uptime, `${(Number(uptime) + seconds).toFixed(2)} 0.00\n`);
  }

  start(): void {
    this.#running = Promise.all([this.#look(), this.#work()]);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    await this.process.close();
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.process.pid, signal);
  }

  /** How often it has seen its clocks move apart. */
  async clockAlarms(): Promise<number> {
    const text = (await this.process.probe('/metrics'))?.body ?? '';
    return Number(/^holdfast_clock_divergences_total (\d+)/m.exec(text)?.[1] ?? 0);
  }

  async #look(): Promise<void> {
    while (!this.#isStopped) {
      const askedMs = performance.now();
      try {
        const leases = await this.process.target.client.leases();
        const lease = leases.find(({ resource }) => resource === RESOURCE);
        const isHeld = lease?.state === 'held';
        this.#record.see({
          holder: this.name,
          epoch: isHeld ? (lease.epoch ?? null) : null,
          remainingMs: isHeld ? lease.remainingMs : 0,
          askedMs,
          answeredMs: performance.now(),
        });
      } catch (error) {
        if (!isExpected(error)) throw error;
      }
      await pause(LOOK_MS);
    }
  }

  async #work(): Promise<void> {
    for (let count = 0; !this.#isStopped; count += 1) {
      try {
        await this.#writeOnce(count);
        this.doneWork += 1;
      } catch (error) {
        if (!isExpected(error)) throw error;
        this.refusedWork += 1;
      }
      await pause(WORK_MS);
    }
  }

  async #writeOnce(count: number): Promise<void> {
    const { client } = this.process.target;
    const key = `${this.name}-${count}`;
    const { operation } = await client.admit(
      { principal: 'agent:worker', action: 'shards.write' },
      { idempotencyKey: key },
    );
    const { operationId } = operation;
    const { attempt } = await client.startAttempt(operationId, { idempotencyKey: key });
    const effect = { operationId, attempt, effect: 'write' };
    const { leaseEpoch } = await client.beginEffect(effect, { idempotencyKey: `${key}-effect` });
    if (leaseEpoch === null) throw new Error('an effect under a lease was given no token');
    this.lastEpoch = leaseEpoch;
    const isAccepted = this.#record.write(this.name, leaseEpoch, performance.now());
    const outcome = isAccepted ? 'succeeded' : 'failed';
    await client.settleEffect(effect, { outcome });
    await client.reportOutcome({ operationId, attempt }, { outcome });
  }
}

/** Refused, or no answer: both are what a fault is for. */
function isExpected(error: unknown): boolean {
  return error instanceof ProblemError || error instanceof UnreachableError;
}
