/**
 * Who sent a host's request. The order is fixed, and each failure has its own reason: the reasons
 * of `shared/platform/signatures.ts`, then those of `core/host-request.ts`, then `replayed`.
 *
 * H1  Nothing of a request is acted upon before its signature, its claims and the digest of its
 *     exact bytes fit.
 * H2  A token of a sync is taken once. A sync moves leases: played again by somebody else it could
 *     raise an epoch and so take a lease from its holder. Tokens are remembered until they are too
 *     old to pass; a restart of control forgets them, and for that window a copied sync costs its
 *     host a lease, never the fence. Reading a bundle, asking for a decision and reporting change
 *     nothing when repeated: an answer is bound to a nonce that only its asker waits for, and a
 *     reported event is stored once.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { openVerifier, type Verifier } from '../../shared/platform/signatures.ts';
import { HoldfastError, type ErrorCode } from '../../shared/wire/problem.ts';
import {
  HostRequestSchema,
  STATEMENT_TYPES,
  type HostRequest,
} from '../../shared/wire/statements.ts';
import {
  CLOCK_SKEW_SECONDS,
  TOKEN_LIFETIME_SECONDS_MAX,
  checkBodyDigest,
  checkClaims,
} from '../core/host-request.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { EnrolledKey, HostRecord, HostStore } from '../store/control-store.ts';
import { ReplayGuard } from './replay-guard.ts';

export type HostCaller = {
  readonly kind: 'host';
  readonly host: HostRecord;
  readonly claims: HostRequest;
};

const VERIFIERS_MAX = 20_000;

type Ports = {
  readonly store: HostStore;
  readonly clock: Clock;
  readonly controlId: string;
  readonly metrics: Metrics<ControlMetrics>;
};

export class HostAuthenticator {
  readonly #ports: Ports;
  readonly #verifiers = new LRUCache<string, Verifier>({ max: VERIFIERS_MAX });
  readonly #replays: ReplayGuard;

  constructor(ports: Ports) {
    this.#ports = ports;
    const windowMs = (TOKEN_LIFETIME_SECONDS_MAX + 2 * CLOCK_SKEW_SECONDS) * 1_000;
    this.#replays = new ReplayGuard({ clock: ports.clock, windowMs });
  }

  /** All but the body: it is read only for a caller who is known. */
  async authenticate(
    token: string,
    request: { readonly method: string; readonly path: string },
  ): Promise<HostCaller> {
    const kid = keyIdOf(token);
    const enrolled = kid === null ? null : await this.#ports.store.byKey(kid);
    // The token is verified all the same where its key is not known: what is wrong with it comes
    // first.
    const verifier = enrolled === null ? await openVerifier([]) : await this.#verifierOf(enrolled);
    const verified = await verifier.verify(token, {
      type: STATEMENT_TYPES.hostRequest,
      schema: HostRequestSchema,
    });
    if (!verified.ok) throw this.#reject(verified.reason, verified.detail);
    if (enrolled === null) throw this.#reject('key_unknown', 'no host is enrolled with this key');
    const { host } = enrolled;
    const fault = checkClaims(verified.payload, {
      controlId: this.#ports.controlId,
      hostId: host.hostId,
      hostEpoch: host.hostEpoch,
      nowSeconds: Math.floor(this.#ports.clock.now().wallMs / 1_000),
      ...request,
    });
    if (fault !== null) throw this.#reject(fault.reason, fault.detail);
    // A key of an earlier enrolment, whose holder knows of the new epoch.
    if (enrolled.hostEpoch !== host.hostEpoch) {
      throw this.#reject('epoch_stale', 'the key is of an earlier enrolment of this host');
    }
    return { kind: 'host', host, claims: verified.payload };
  }

  checkBody(caller: HostCaller, bodySha256: string): void {
    const fault = checkBodyDigest(caller.claims, bodySha256);
    if (fault !== null) throw this.#reject(fault.reason, fault.detail);
  }

  /** H2. */
  takeOnce(caller: HostCaller): void {
    if (this.#replays.take(`${caller.host.kid}:${caller.claims.nonce}`)) return;
    throw this.#reject(
      'replayed',
      'the nonce of the token was used before: make a token for each request',
    );
  }

  async #verifierOf({ kid, publicKey }: EnrolledKey): Promise<Verifier> {
    let verifier = this.#verifiers.get(kid);
    if (verifier === undefined) {
      verifier = await openVerifier([{ ...publicKey, kid }]);
      this.#verifiers.set(kid, verifier);
    }
    return verifier;
  }

  #reject(reason: string, detail: string): HoldfastError {
    this.#ports.metrics.add('holdfast_control_host_requests_rejected_total', { reason });
    return new HoldfastError(
      CODE_OF_REASON[reason] ?? 'host_signature_invalid',
      `${reason}: ${detail}`,
    );
  }
}

const CODE_OF_REASON: Readonly<Record<string, ErrorCode>> = {
  key_unknown: 'host_unknown',
  epoch_stale: 'host_epoch_stale',
};

/** Only to find the key; nothing it says is believed before the signature is. */
function keyIdOf(token: string): string | null {
  try {
    const header: unknown = JSON.parse(
      Buffer.from(token.split('.', 1)[0] ?? '', 'base64url').toString(),
    );
    const kid =
      typeof header === 'object' && header !== null && 'kid' in header ? header.kid : null;
    return typeof kid === 'string' && kid.length <= 100 ? kid : null;
  } catch {
    return null;
  }
}
