/**
 * Keeps the syncs by which decisions are placed: in memory the two newest of each host, the others in
 * the store, at most `ANCHORS_MAX` of a host.
 */
import type { Logger } from '../../shared/platform/logger.ts';
import type { SyncRequest } from '../../shared/wire/statements.ts';
import { NO_ANCHORS, noteAnchor, type AnchorMemory } from '../core/sync-anchors.ts';
import type { HostRecord } from '../store/control-store.ts';
import type { TimelineStore } from '../store/divergence-store.ts';

const ANCHORS_MAX = 128;

type Known = { readonly hostEpoch: number; readonly memory: AnchorMemory };

export class AnchorKeeper {
  readonly #store: TimelineStore;
  readonly #logger: Logger;
  readonly #known = new Map<string, Known>();

  constructor(ports: { store: TimelineStore; logger: Logger }) {
    this.#store = ports.store;
    this.#logger = ports.logger;
  }

  /** `heardMs`: in control's time, when the request came in. */
  note({ hostId, hostEpoch }: HostRecord, { clock, journal }: SyncRequest, heardMs: number): void {
    const known = this.#known.get(hostId);
    const held = known?.hostEpoch === hostEpoch ? known.memory : NO_ANCHORS;
    const { memory, toKeep } = noteAnchor(
      held,
      {
        heardMs,
        seq: journal.seq,
        clock: clock === undefined ? null : { bootId: clock.bootId, bootMs: clock.bootMs },
      },
      clock?.answered ?? null,
    );
    this.#known.set(hostId, { hostEpoch, memory });
    if (toKeep.length === 0) return;
    // Without it what this host decides is placed less closely, and its sync is none the worse.
    this.#store
      .keepAnchors({ hostId, hostEpoch }, toKeep, ANCHORS_MAX)
      .catch((error: unknown) => this.#logger.error({ err: error, hostId }, 'anchor is not kept'));
  }
}
