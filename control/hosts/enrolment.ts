/**
 * How a machine becomes a host: an operator makes a join token for its name, the machine sends it
 * once with the public key it has made, and gets a signed statement of who it is from then on.
 *
 * E1  A token enrols one key. The same key may come again with it, because an answer can be lost;
 *     another may not.
 * E2  A new token for a known name keeps the host's id, raises its epoch and replaces its key: the
 *     machine of before is no longer that host, and what it held is not taken over by its name.
 * E3  The token carries the thumbprint of control's key, so the machine trusts nobody it was not
 *     told of.
 */
import { makeId } from '../../shared/core/ids.ts';
import { parseDurationMs } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { equalDigests, sha256Hex } from '../../shared/platform/digest.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { randomText, type Random } from '../../shared/platform/random.ts';
import { thumbprint, type Signer } from '../../shared/platform/signatures.ts';
import type { EnrolRequest, JoinToken } from '../../shared/wire/control-api.ts';
import { HoldfastError, type ErrorCode } from '../../shared/wire/problem.ts';
import { STATEMENT_TYPES, type Enrolment, type PublicKey } from '../../shared/wire/statements.ts';
import { JOIN_TOKEN_TTL_MS_MAX, type ControlConfig } from '../config.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { SigningRing } from '../signing-ring.ts';
import type { HostStore, JoinTokenRecord } from '../store/control-store.ts';

type Ports = {
  readonly store: HostStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly signer: SigningRing;
  readonly trustKeys: readonly PublicKey[];
  readonly controlId: string;
  readonly config: ControlConfig;
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
};

const SECRET_BYTES = 24;
const TRIES_MAX = 3;

export class EnrolmentDesk {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /**
   * `hfj1.<id>.<secret>.<thumbprint of the signing key>`; kept is the id and the SHA-256 of the
   * secret.
   */
  async makeJoinToken(
    asked: { readonly hostName: string; readonly ttl?: string },
    actor: string,
  ): Promise<JoinToken> {
    const { store, clock, random, signer, config } = this.#ports;
    const ttlMs = asked.ttl === undefined ? config.joinTokenTtlMs : parseDurationMs(asked.ttl);
    if (ttlMs === null || ttlMs <= 0 || ttlMs > JOIN_TOKEN_TTL_MS_MAX) {
      throw new HoldfastError('invalid_request', `/ttl: ${asked.ttl} is not a duration up to 24h`, {
        errors: [{ path: '/ttl', message: 'must be a duration with a unit, as 10m, at most 24h' }],
      });
    }
    const { wallMs } = clock.now();
    const tokenId = makeId('join', wallMs, random.bytes(16));
    const secret = randomText(random, SECRET_BYTES);
    const { hostName } = asked;
    const expiresAtMs = wallMs + ttlMs;
    const record: JoinTokenRecord = {
      tokenId,
      secretSha256: sha256Hex(secret),
      hostName,
      expiresAtMs,
      createdBy: actor,
      use: null,
    };
    await store.addJoinToken(record, {
      atMs: wallMs,
      actor,
      action: 'join_token.made',
      target: hostName,
      detail: { tokenId, expiresAtMs },
    });
    return { joinToken: `hfj1.${tokenId}.${secret}.${signer.kid}`, hostName, expiresAtMs };
  }

  /** The signed enrolment; `join_token_invalid`, `join_token_used` or `join_token_expired`. */
  async enrol(request: EnrolRequest): Promise<string> {
    const { metrics } = this.#ports;
    try {
      const answer = await this.#enrol(request);
      metrics.add('holdfast_control_enrolments_total', { outcome: 'enrolled' });
      return answer;
    } catch (error) {
      const outcome = error instanceof HoldfastError ? error.code : 'failed';
      metrics.add('holdfast_control_enrolments_total', { outcome });
      throw error;
    }
  }

  async #enrol(request: EnrolRequest): Promise<string> {
    const { store, controlId, trustKeys } = this.#ports;
    const kid = await thumbprint(request.publicKey);
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const { token, pinned } = await this.#checkToken(request);
      const enrolled = await this.#useToken(token, request, kid);
      if (enrolled === null) continue;
      const statement: Enrolment = {
        nonce: request.nonce,
        controlId,
        hostName: token.hostName,
        ...enrolled,
        trust: { keys: [...trustKeys] },
      };
      return pinned.sign(STATEMENT_TYPES.enrolment, statement);
    }
    const other = await store.byKey(kid);
    throw refused(
      'join_token_used',
      other === null
        ? 'the token or the name was used by another machine meanwhile'
        : `the key is that of host ${other.host.hostName}: make another one`,
    );
  }

  /** With the key that the token names: the machine believes no other. */
  async #checkToken(request: EnrolRequest): Promise<{ token: JoinTokenRecord; pinned: Signer }> {
    const [version, tokenId = '', secret = '', pin, ...rest] = request.joinToken.split('.');
    const { store, signer } = this.#ports;
    if (version !== 'hfj1' || pin === undefined || rest.length > 0) {
      throw refused('join_token_invalid', 'the join token is cut off or not one of ours');
    }
    const token = await store.joinToken(tokenId);
    if (token === null || !equalDigests(token.secretSha256, sha256Hex(secret))) {
      throw refused(
        'join_token_invalid',
        'the join token is not known here: make one with this control',
      );
    }
    const pinned = signer.holding(pin);
    if (pinned === null) {
      throw refused(
        'join_token_invalid',
        'the join token names a key that control has no more: make a new one',
      );
    }
    if (token.hostName !== request.hostName) {
      throw refused(
        'join_token_invalid',
        `the join token is for host ${token.hostName}, not for ${request.hostName}`,
      );
    }
    return { token, pinned };
  }

  /** `null` where something changed in between: look again. */
  async #useToken(
    token: JoinTokenRecord,
    request: EnrolRequest,
    kid: string,
  ): Promise<{ hostId: string; hostEpoch: number } | null> {
    const { store, clock, random, logger } = this.#ports;
    const { wallMs } = clock.now();
    if (token.use !== null) {
      // E1. Also after its end: the enrolment has happened, only its answer was lost.
      if (token.use.kid === kid)
        return { hostId: token.use.hostId, hostEpoch: token.use.hostEpoch };
      throw refused(
        'join_token_used',
        'the join token was used by another machine: make a new one',
      );
    }
    if (wallMs >= token.expiresAtMs) {
      throw refused('join_token_expired', 'the join token has expired: make a new one');
    }
    const known = await store.byName(token.hostName);
    const hostId = known?.hostId ?? makeId('host', wallMs, random.bytes(16));
    const hostEpoch = (known?.hostEpoch ?? 0) + 1;
    const follows = known?.hostEpoch ?? null;
    const { hostName, tokenId } = token;
    const outcome = await store.enrol(
      {
        tokenId,
        hostId,
        hostName,
        hostEpoch,
        follows,
        kid,
        publicKey: request.publicKey,
        atMs: wallMs,
      },
      {
        atMs: wallMs,
        actor: `join:${tokenId}`,
        action: 'host.enrolled',
        target: hostName,
        detail: { hostId, hostEpoch, kid, invitedBy: token.createdBy },
      },
    );
    if (outcome === 'conflict') return null;
    logger.info({ hostId, hostName, hostEpoch, kid }, 'host enrolled');
    return { hostId, hostEpoch };
  }
}

function refused(code: ErrorCode, detail: string): HoldfastError {
  return new HoldfastError(code, detail);
}
