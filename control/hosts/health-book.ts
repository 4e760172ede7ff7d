/**
 * What each host last said of its work, in memory: it is said again with each sync, so a restart of
 * control knows nothing of it until then, and says so.
 */
import type { Instant } from '../../shared/core/time.ts';
import type { HostHealth } from '../../shared/wire/fleet-health.ts';

export type SaidHealth = { readonly atMs: number; readonly health: HostHealth };

export class HealthBook {
  readonly #said = new Map<string, SaidHealth>();

  /** A sync without it is of a sidecar that was not asked yet, or does not know the question. */
  note(hostId: string, health: HostHealth | undefined, now: Instant): void {
    if (health === undefined) this.#said.delete(hostId);
    else this.#said.set(hostId, { atMs: now.wallMs, health });
  }

  said(hostId: string): SaidHealth | null {
    return this.#said.get(hostId) ?? null;
  }
}
