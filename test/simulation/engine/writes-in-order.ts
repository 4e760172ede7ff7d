/**
 * Tells what a store wrote of leases in the order in which it did. Answers come in another: a sync waits for
 * a commit that it shares with others (`control/store/commit-group.ts`), and an order of an operator, which
 * rests on what that sync has written and commits it along, is answered first.
 *
 * V1  A store does a write while it is called; so the order of the calls is that of the writes.
 * V2  A write is told once it has succeeded, and each before it that writes of one of its resources has been
 *     told or has failed.
 */
import type { LeaseWrite, WriteOutcome } from '../../../control/store/control-store.ts';

type Write = { readonly leases: readonly LeaseWrite[]; isDone: boolean };

export class WritesInOrder {
  readonly #tell: (lease: LeaseWrite) => void;
  #untold: readonly Write[] = [];

  constructor(tell: (lease: LeaseWrite) => void) {
    this.#tell = tell;
  }

  /** Called with the write that has just been begun. It is not answered later for this. */
  async watch<T extends WriteOutcome | 'host_changed'>(
    leases: readonly LeaseWrite[],
    begun: Promise<T>,
  ): Promise<T> {
    const write: Write = { leases, isDone: false };
    this.#untold = [...this.#untold, write];
    try {
      const outcome = await begun;
      write.isDone = outcome === 'ok';
      return outcome;
    } finally {
      if (!write.isDone) this.#untold = this.#untold.filter((one) => one !== write);
      this.#tellReady();
    }
  }

  /** V2. */
  #tellReady(): void {
    const waitedFor = new Set<string>();
    this.#untold = this.#untold.filter(({ leases, isDone }) => {
      const isReady = isDone && leases.every(({ record }) => !waitedFor.has(record.resource));
      for (const lease of leases) {
        if (isReady) this.#tell(lease);
        else waitedFor.add(lease.record.resource);
      }
      return !isReady;
    });
  }
}
