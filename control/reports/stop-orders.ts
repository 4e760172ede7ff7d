/**
 * Operations that a person has revoked and that have not ended, as far as their hosts have reported.
 * Each sync of such a host says so, until it reports an end.
 */
import type { Divergence } from '../../shared/wire/divergences.ts';
import { hasEnded, stopDone } from '../core/divergence-resolution.ts';
import type { ControlStore } from '../store/control-store.ts';

/** Beyond it orders wait in the store for those before them. */
const ORDERS_MAX = 10_000;
export const STOPS_PER_SYNC_MAX = 200;

export class StopOrders {
  readonly #store: ControlStore;
  /** By host: operation to divergence. */
  readonly #orders = new Map<string, Map<string, string>>();

  private constructor(store: ControlStore) {
    this.#store = store;
  }

  static async open(store: ControlStore): Promise<StopOrders> {
    const orders = new StopOrders(store);
    for (const one of await store.divergences.pendingStops(ORDERS_MAX)) orders.add(one);
    return orders;
  }

  add({ hostId, operationId, divergenceId, resolution }: Divergence): void {
    if (operationId === null || resolution?.stop?.state !== 'pending') return;
    let ofHost = this.#orders.get(hostId);
    if (ofHost === undefined) this.#orders.set(hostId, (ofHost = new Map()));
    ofHost.set(operationId, divergenceId);
  }

  /** What a host is to be told; nearly always nothing, and then nothing is read. */
  async forHost(hostId: string): Promise<readonly string[]> {
    const ofHost = this.#orders.get(hostId);
    if (ofHost === undefined) return [];
    const ids = [...ofHost.keys()].slice(0, STOPS_PER_SYNC_MAX);
    const known = await this.#store.reports.operations(ids);
    const open: string[] = [];
    for (const operationId of ids) {
      const operation = known.get(operationId);
      if (operation !== undefined && !hasEnded(operation.state)) open.push(operationId);
      else await this.#done(hostId, operationId);
    }
    return open;
  }

  async #done(hostId: string, operationId: string): Promise<void> {
    const ofHost = this.#orders.get(hostId);
    const divergenceId = ofHost?.get(operationId);
    if (ofHost === undefined || divergenceId === undefined) return;
    const replaces = await this.#store.divergences.fetch(divergenceId);
    if (replaces !== null) {
      const record = stopDone(replaces);
      await this.#store.divergences.settle({ record, replaces, audit: [] });
    }
    ofHost.delete(operationId);
    if (ofHost.size === 0) this.#orders.delete(hostId);
  }
}
