/**
 * The gate through which hosts come back: the shell around `core/reconnect-gate.ts`.
 *
 * W1  It looks twice. Before anything of a request is verified or read, so that a crowd costs little;
 *     nothing is paid then, or whoever has no key could empty the bucket. And once the caller is
 *     known: then a place in the bucket is taken.
 * W2  Who is in contact is known by this process alone: after a start everybody comes back.
 * W3  A refusal is 503 `overloaded`, which nobody signs: it says nothing about the host.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import type { Random } from '../../shared/platform/random.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { ControlConfig } from '../config.ts';
import {
  gateAtStart,
  gateTerms,
  judgeCaller,
  type GateCaller,
  type GateState,
  type GateTerms,
  type GateVerdict,
} from '../core/reconnect-gate.ts';
import type { ControlMetrics } from '../metrics.ts';

export type HostRequestKind = GateCaller['kind'];

export type ReconnectGateOptions = {
  readonly config: Pick<ControlConfig, 'reconnectRate' | 'hostLateAfterMs'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics<ControlMetrics>;
};

type Asking = { readonly kind: HostRequestKind; readonly leaseEndsMs: number | null };

export class ReconnectGate {
  readonly #options: ReconnectGateOptions;
  readonly #terms: GateTerms;
  #state: GateState;
  /** Q6. */
  #underWay = 0;
  /** By host, on the boot clock: one number for each that was ever let in. */
  readonly #letInBootMs = new Map<string, number>();

  constructor(options: ReconnectGateOptions) {
    this.#options = options;
    this.#terms = gateTerms(options.config.reconnectRate);
    this.#state = gateAtStart(this.#terms, options.clock.now().bootMs);
    options.metrics.beforeScrape(() => {
      const { bootMs } = options.clock.now();
      const waitMs = Math.max(0, this.#state.promisedBootMs - bootMs);
      options.metrics.set('holdfast_control_reconnect_wait_seconds', waitMs / 1_000);
    });
  }

  /**
   * W1, before: `claimedHostId` is not verified. Throws `overloaded`. What it gives is to be called
   * when the request is over (Q6).
   */
  look(asking: Asking, claimedHostId: string | null): () => void {
    const { answer, state } = this.#judge(asking, claimedHostId);
    if (answer.admitted) {
      if (asking.kind !== 'sync' || answer.as === 'in_contact') return () => undefined;
      this.#underWay += 1;
      return () => void (this.#underWay -= 1);
    }
    this.#state = state;
    throw this.#overloaded(asking.kind, answer.retryAfterMs);
  }

  /** W1, once the caller is known. Throws `overloaded`. */
  enter(asking: Asking, hostId: string): void {
    // It is one of those under way itself.
    const { answer, state } = this.#judge(asking, hostId, this.#underWay - 1);
    this.#state = state;
    if (!answer.admitted) throw this.#overloaded(asking.kind, answer.retryAfterMs);
    if (asking.kind !== 'sync') return;
    this.#letInBootMs.set(hostId, state.atBootMs);
    if (answer.as !== 'in_contact')
      this.#options.metrics.add('holdfast_control_reconnects_total', { as: answer.as });
  }

  #judge(
    { kind, leaseEndsMs }: Asking,
    hostId: string | null,
    underWay: number = this.#underWay,
  ): GateVerdict {
    const { clock, random, config } = this.#options;
    const { bootMs } = clock.now();
    const letInBootMs = hostId === null ? undefined : this.#letInBootMs.get(hostId);
    const isInContact = letInBootMs !== undefined && bootMs - letInBootMs <= config.hostLateAfterMs;
    const caller = kind === 'sync' ? { kind, isInContact, leaseEndsMs, underWay } : { kind };
    return judgeCaller(this.#state, this.#terms, caller, { bootMs, unitRandom: random.unit() });
  }

  #overloaded(request: HostRequestKind, retryAfterMs: number): HoldfastError {
    this.#options.metrics.add('holdfast_control_deferrals_total', { request });
    return new HoldfastError(
      'overloaded',
      `many hosts come back at once and ${this.#terms.ratePerSecond} a second are taken: ask again in ${retryAfterMs} ms`,
      { retry_after_ms: retryAfterMs },
    );
  }
}
