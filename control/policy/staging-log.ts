/**
 * Writes down from when a roll-out is in force for which host. What a host is to run is decided by the
 * roll-out; here is only told when that changed.
 */
import type { Logger } from '../../shared/platform/logger.ts';
import type { Rollout } from '../../shared/wire/rollout.ts';
import type { InForce } from '../core/authority-timeline.ts';
import type { ControlTime } from '../reports/control-time.ts';
import type { TimelineStore } from '../store/divergence-store.ts';

export class StagingLog {
  readonly #store: TimelineStore;
  readonly #time: ControlTime;
  readonly #logger: Logger;
  /** By host, the newest entry of its own since what is in force for every host. */
  #told: Map<string, InForce>;
  #writing: Promise<void> = Promise.resolve();

  private constructor(
    ports: { store: TimelineStore; time: ControlTime; logger: Logger },
    told: ReadonlyMap<string, InForce>,
  ) {
    this.#store = ports.store;
    this.#time = ports.time;
    this.#logger = ports.logger;
    this.#told = new Map(told);
  }

  static async open(ports: {
    store: TimelineStore;
    time: ControlTime;
    logger: Logger;
  }): Promise<StagingLog> {
    return new StagingLog(ports, await ports.store.stagings());
  }

  /** Those that are to run it now. What cannot be written is written with the next call. */
  note({ policyRevision, baseRevision }: Rollout, hosts: ReadonlySet<string>): void {
    const atMs = this.#time.nowMs();
    const entries: InForce[] = [];
    for (const hostId of hosts) {
      if (this.#told.get(hostId)?.policyRevision === policyRevision) continue;
      entries.push({ atMs, hostId, policyRevision, cause: 'staged' });
    }
    for (const [hostId, told] of this.#told) {
      if (told.policyRevision !== policyRevision || hosts.has(hostId)) continue;
      entries.push({ atMs, hostId, policyRevision: baseRevision, cause: 'halted' });
    }
    if (entries.length === 0) return;
    for (const entry of entries) if (entry.hostId !== null) this.#told.set(entry.hostId, entry);
    this.#writing = this.#writing.then(() => this.#write(entries));
  }

  /** The roll-out is over: what is in force for every host says the rest. */
  forget(): void {
    this.#told.clear();
  }

  async #write(entries: readonly InForce[]): Promise<void> {
    try {
      await this.#store.append(entries);
    } catch (error) {
      for (const entry of entries) {
        if (entry.hostId !== null && this.#told.get(entry.hostId) === entry)
          this.#told.delete(entry.hostId);
      }
      this.#logger.error({ err: error }, 'the timeline of the roll-out is not written yet');
    }
  }
}
