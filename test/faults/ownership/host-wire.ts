/**
 * What lies between a sidecar and control. Answers are made late by a proxy; the wire is cut in the
 * kernel where the host has a network of its own, and by the proxy where it has none.
 */
import type { HostNetwork } from '../inject/host-network.ts';
import { WHOLE, type ChaosProxy, type Wire } from '../inject/chaos-proxy.ts';

export class HostWire {
  readonly network: HostNetwork | null;
  readonly #proxy: ChaosProxy;

  constructor(proxy: ChaosProxy, network: HostNetwork | null) {
    this.#proxy = proxy;
    this.network = network;
  }

  set(wire: Partial<Pick<Wire, 'up' | 'down' | 'answersLateMs'>>): void {
    const { up, down, answersLateMs } = { ...WHOLE, ...wire };
    if (this.network === null) {
      this.#proxy.set({ up, down, answersLateMs });
      return;
    }
    this.network.set({ up, down });
    this.#proxy.set({ answersLateMs });
  }

  heal(): void {
    this.network?.set(WHOLE);
    this.#proxy.heal();
  }

  close(): void {
    this.#proxy.close();
  }
}
