/** Control's store, with what it commits about leases and revisions written down. */
import type { LeaseRecord } from '../../../control/core/lease-transition.ts';
import type { ControlStore, StoredRevision } from '../../../control/store/control-store.ts';
import type { LeaseChange } from '../history.ts';
import type { HistoryLog } from './history-log.ts';
import type { Life } from './life.ts';
import type { MachineClock } from './machine-clock.ts';
import { WritesInOrder } from './writes-in-order.ts';

/** What is known to have been committed, over all lives of control. */
export class StoreWatch {
  readonly #log: Pick<HistoryLog, 'add'>;
  readonly #machine: Pick<MachineClock, 'now'>;
  readonly #leases = new Map<string, LeaseRecord>();
  readonly #digests = new Map<number, string>();
  readonly #hostNames = new Map<string, string>();

  constructor(log: Pick<HistoryLog, 'add'>, machine: Pick<MachineClock, 'now'>) {
    this.#log = log;
    this.#machine = machine;
  }

  hostName(hostId: string): string {
    return this.#hostNames.get(hostId) ?? hostId;
  }

  hostId(hostName: string): string | null {
    for (const [id, name] of this.#hostNames) if (name === hostName) return id;
    return null;
  }

  /** What was committed and nobody was told of, or what a copy that was put back holds. */
  async catchUp(store: ControlStore): Promise<void> {
    for (const { hostId, hostName } of await store.hosts.all())
      this.#hostNames.set(hostId, hostName);
    const leases = await store.leases.all();
    const known = new Map(leases.map((lease) => [lease.resource, lease]));
    for (const resource of this.#leases.keys())
      if (!known.has(resource)) this.#leases.delete(resource);
    for (const lease of leases) this.#note(lease);
    const newest = (await store.policy.currentNumber()) ?? 0;
    for (let number = 1; number <= newest; number += 1) {
      const revision = await store.policy.fetch(number);
      if (revision !== null) this.#noteRevision(revision);
    }
  }

  /** What a life that is over commits all the same is found by the next start. */
  observe(store: ControlStore, life: Pick<Life, 'isAlive'>): ControlStore {
    const { leases, policy, hosts } = store;
    const writes = new WritesInOrder(({ record }) => {
      if (life.isAlive) this.#note(record);
    });
    return {
      ...store,
      hosts: {
        ...hosts,
        enrol: async (enrolling, audit) => {
          const outcome = await hosts.enrol(enrolling, audit);
          if (outcome === 'ok') this.#hostNames.set(enrolling.hostId, enrolling.hostName);
          return outcome;
        },
      },
      leases: {
        ...leases,
        applySync: (write) => writes.watch(write.leases, leases.applySync(write)),
        change: (write) => writes.watch([write.lease], leases.change(write)),
      },
      policy: {
        ...policy,
        append: async (revision, follows, audit, besides) => {
          const outcome = await policy.append(revision, follows, audit, besides);
          if (outcome === 'ok' && life.isAlive) this.#noteRevision(revision);
          return outcome;
        },
      },
    };
  }

  #note(after: LeaseRecord): void {
    const before = this.#leases.get(after.resource) ?? null;
    if (before !== null && JSON.stringify(before) === JSON.stringify(after)) return;
    this.#leases.set(after.resource, after);
    const { resource, epoch, holder } = after;
    this.#log.add({
      kind: 'lease_written',
      change: changeOf(before, after),
      resource,
      epoch,
      host: this.hostName(holder.hostId),
      before,
      after,
      clock: this.#machine.now(),
    });
  }

  #noteRevision({ policyRevision, policyDigest, policy }: StoredRevision): void {
    if (this.#digests.get(policyRevision) === policyDigest) return;
    this.#digests.set(policyRevision, policyDigest);
    this.#log.add({
      kind: 'revision_published',
      policyRevision,
      policyDigest,
      document: policy,
      clock: this.#machine.now(),
    });
  }
}

function changeOf(before: LeaseRecord | null, after: LeaseRecord): LeaseChange {
  if (before === null || before.epoch !== after.epoch) return 'granted';
  if (after.state === 'released' && before.state === 'held') return 'released';
  if (after.handover?.mode === 'stop' && before.handover?.mode !== 'stop') return 'revoked';
  return after.renewedAtMs === before.renewedAtMs ? 'handover' : 'renewed';
}
