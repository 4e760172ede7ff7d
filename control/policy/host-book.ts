/**
 * What every host last said of itself, and the labels that operators gave it, in memory: a roll-out
 * looks at all of them each second. It is filled from the store at the start and kept by each sync,
 * and each change of labels, after its commit.
 */
import type { Instant } from '../../shared/core/time.ts';
import type { Labels } from '../../shared/wire/rollout.ts';
import { effectiveLabels, type HostFacts } from '../core/host-facts.ts';
import type { ControlStore } from '../store/control-store.ts';

export type BookedHost = { readonly hostName: string; readonly facts: HostFacts };

export class HostBook {
  readonly #hosts = new Map<string, BookedHost>();
  readonly #operatorLabels = new Map<string, Labels>();
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
    for (const { hostId, labels } of await store.placement.hostSettings()) {
      this.noteLabels(hostId, labels);
    }
  }

  hosts(): ReadonlyMap<string, BookedHost> {
    return this.#hosts;
  }

  facts(hostId: string): HostFacts | null {
    return this.#hosts.get(hostId)?.facts ?? null;
  }

  labels(hostId: string): Labels {
    return effectiveLabels(
      this.facts(hostId)?.labels ?? {},
      this.#operatorLabels.get(hostId) ?? {},
    );
  }

  noteLabels(hostId: string, labels: Labels): void {
    this.#operatorLabels.set(hostId, labels);
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
