/**
 * Authority tokens: that control granted a lease, signed by control, for a service elsewhere that
 * verifies it without asking anybody. They come with the syncs, for the leases of which somebody
 * asked for one lately.
 *
 * A1  A token is handed out only while its lease is held in time under the same epoch, and renewed
 *     with it.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { SyncAnswer } from '../../shared/wire/statements.ts';
import type { LeaseAuthority } from './authority-view.ts';

const WANT_PATIENCE_MS = 120_000;
const LOOK_MS = 20;

export type LeaseToken = {
  readonly resource: string;
  readonly epoch: number;
  readonly token: string;
};

type Kept = LeaseToken & { readonly untilBootMs: number };

export class LeaseTokens {
  readonly #clock: Clock;
  readonly #leases: Pick<LeaseAuthority, 'lease'>;
  readonly #kick: () => void;
  readonly #kept = new Map<string, Kept>();
  readonly #wanted = new Map<string, number>();

  constructor(parts: {
    readonly clock: Clock;
    readonly leases: Pick<LeaseAuthority, 'lease'>;
    readonly kick: () => void;
  }) {
    this.#clock = parts.clock;
    this.#leases = parts.leases;
    this.#kick = parts.kick;
  }

  /** For which control is asked with the next sync. */
  wanted(): string[] {
    const { bootMs } = this.#clock.now();
    for (const [resource, sinceMs] of this.#wanted)
      if (bootMs - sinceMs > WANT_PATIENCE_MS) this.#wanted.delete(resource);
    return [...this.#wanted.keys()].filter((resource) => this.#heldEpoch(resource) !== null);
  }

  apply({ leases, tokens = [] }: Pick<SyncAnswer, 'leases' | 'tokens'>, sentBootMs: number): void {
    for (const { resource, token } of tokens) {
      const grant = leases.find((lease) => lease.resource === resource);
      if (grant === undefined) continue;
      const { epoch, ttlMs } = grant;
      this.#kept.set(resource, { resource, epoch, token, untilBootMs: sentBootMs + ttlMs });
    }
  }

  /** `null` where the lease is not held, or control did not answer in time. */
  async token(resource: string, waitMs: number): Promise<LeaseToken | null> {
    const startedMs = this.#clock.now().bootMs;
    this.#wanted.set(resource, startedMs);
    if (this.#usable(resource) === null) this.#kick();
    for (;;) {
      const usable = this.#usable(resource);
      const isOver = this.#clock.now().bootMs - startedMs >= waitMs;
      if (usable !== null || isOver || this.#heldEpoch(resource) === null) return usable;
      await this.#clock.sleep(LOOK_MS);
    }
  }

  /** A1. */
  #usable(resource: string): LeaseToken | null {
    const kept = this.#kept.get(resource);
    if (kept === undefined) return null;
    const { epoch, token, untilBootMs } = kept;
    const isInTime = this.#clock.now().bootMs < untilBootMs;
    if (isInTime && this.#heldEpoch(resource) === epoch) return { resource, epoch, token };
    this.#kept.delete(resource);
    return null;
  }

  #heldEpoch(resource: string): number | null {
    const lease = this.#leases.lease(resource);
    const { bootMs, bootId } = this.#clock.now();
    const isHeld = lease !== undefined && lease.bootId === bootId && bootMs < lease.endsBootMs;
    return isHeld ? lease.epoch : null;
  }
}
