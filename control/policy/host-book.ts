/**
 * What every host last said of itself, in memory: a roll-out looks at all of them each second. It is
 * filled from the store at the start and kept by each sync after its commit.
 */
import type { Instant } from '../../shared/core/time.ts';
import type { HostFacts } from '../core/host-facts.ts';
import type { ControlStore } from '../store/control-store.ts';

export type BookedHost = { readonly hostName: string; readonly facts: HostFacts };

export class HostBook {
  readonly #hosts = new Map<string, BookedHost>();
  /** On the boot clock, in this run. */
  readonly #heardMs = new Map<string, number>();
  #startedMs = 0;

  async open(store: ControlStore, now: Instant): Promise<void> {
    this.#startedMs = now.bootMs;
    const facts = await store.rollouts.facts();
    for (const { hostId, hostName } of await store.hosts.all()) {
      const known = facts.get(hostId);
      if (known !== undefined) this.#hosts.set(hostId, { hostName, facts: known });
    }
  }

  hosts(): ReadonlyMap<string, BookedHost> {
    return this.#hosts;
  }

  facts(hostId: string): HostFacts | null {
    return this.#hosts.get(hostId)?.facts ?? null;
  }

  note(host: { hostId: string; hostName: string }, facts: HostFacts, now: Instant): void {
    this.#hosts.set(host.hostId, { hostName: host.hostName, facts });
    this.#heardMs.set(host.hostId, now.bootMs);
  }

  /** From the start of this run on, for a host that has not been heard in it. */
  silentMs(hostId: string, now: Instant): number {
    return now.bootMs - (this.#heardMs.get(hostId) ?? this.#startedMs);
  }
}
