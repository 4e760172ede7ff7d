/**
 * Control's own view of outages (`core/own-outages.ts`): which hosts it does not hear, and since when,
 * and for how long it was down itself. For people: no right depends on it.
 */
import { makeId } from '../../shared/core/ids.ts';
import type { Clock, Timer } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { ControlConfig } from '../config.ts';
import {
  controlDown,
  ended,
  silenceOf,
  silentBeforeMs,
  type OwnOutage,
} from '../core/own-outages.ts';
import type { OutageStore } from '../store/outage-store.ts';

/** A run that ends without a word is known to have gone on until at most so long before. */
const LOOK_MS = 5_000;
const ID_BYTES = 16;
/** In one transaction; more are found with the next look. */
const SILENCES_AT_ONCE = 1_000;

type Ports = {
  readonly store: OutageStore;
  readonly config: Pick<ControlConfig, 'hostLateAfterMs'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

export class SilenceWatch {
  readonly #ports: Ports;
  /** By host, those that have not ended. */
  readonly #open = new Map<string, OwnOutage>();
  #run = 0;
  #startedBootMs = 0;
  #timer: Timer | null = null;
  #looking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** Notes that a run has begun, and how long there was none. */
  async open(run: number): Promise<void> {
    const { store, clock, logger } = this.#ports;
    const now = clock.now();
    this.#run = run;
    this.#startedBootMs = now.bootMs;
    const before = await store.noteRun({ run, atMs: now.wallMs });
    if (before !== null) {
      const down = controlDown(before, now.wallMs);
      await store.put([this.#named(down)]);
      const { fromMs, toMs, detail } = down;
      logger.info({ fromMs, downMs: toMs - fromMs, detail }, 'control was down before this start');
    }
    for (const silence of await store.openSilences())
      if (silence.hostId !== null) this.#open.set(silence.hostId, silence);
  }

  start(): void {
    this.#timer = this.#ports.clock.startTimer(LOOK_MS, () => {
      this.#looking = this.look().finally(() => {
        if (!this.#isStopped) this.start();
      });
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#looking;
    await this.#try(() =>
      this.#ports.store.noteAlive({ run: this.#run, atMs: this.#wallMs(), isEnd: true }),
    );
  }

  /** A host has synced. */
  heard(hostId: string): void {
    const silence = this.#open.get(hostId);
    if (silence === undefined) return;
    this.#open.delete(hostId);
    void this.#try(() => this.#ports.store.put([ended(silence, this.#wallMs())]));
  }

  async look(): Promise<void> {
    const { store, clock, config } = this.#ports;
    await this.#try(async () => {
      const { wallMs: nowMs, bootMs } = clock.now();
      await store.noteAlive({ run: this.#run, atMs: nowMs, isEnd: false });
      const beforeMs = silentBeforeMs({
        nowMs,
        runForMs: bootMs - this.#startedBootMs,
        lateAfterMs: config.hostLateAfterMs,
      });
      if (beforeMs === null) return;
      const hosts = await store.silentHosts(beforeMs, SILENCES_AT_ONCE);
      if (hosts.length === 0) return;
      const silences = hosts.map((host) => this.#named(silenceOf(host)));
      await store.put(silences);
      for (const silence of silences)
        if (silence.hostId !== null) this.#open.set(silence.hostId, silence);
    });
  }

  #named(outage: Omit<OwnOutage, 'outageId'>): OwnOutage {
    const { random } = this.#ports;
    return { ...outage, outageId: makeId('out', outage.fromMs, random.bytes(ID_BYTES)) };
  }

  #wallMs(): number {
    return this.#ports.clock.now().wallMs;
  }

  /** A store that fails ends the daemon by itself; nothing else is to suffer for this. */
  async #try(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#ports.logger.error({ err: error }, 'what was seen of an outage could not be stored');
    }
  }
}
