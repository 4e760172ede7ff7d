/**
 * Whether the claims of a host's token fit the request that carries it. The signature has been
 * verified before; reasons are in order of precedence.
 */
import type { HostRequest } from '../../shared/wire/statements.ts';

export const CLAIM_REASONS = [
  'audience_mismatch',
  'issuer_mismatch',
  'epoch_stale',
  'lifetime_too_long',
  'not_yet_valid',
  'expired',
  'method_mismatch',
  'path_mismatch',
  'body_mismatch',
] as const;
export type ClaimReason = (typeof CLAIM_REASONS)[number];

/** How far the clocks of a host and of control may be apart. */
export const CLOCK_SKEW_SECONDS = 300;
/** A token is for one request; it need not live longer than the slowest one. */
export const TOKEN_LIFETIME_SECONDS_MAX = 600;

export type ExpectedRequest = {
  readonly controlId: string;
  readonly hostId: string;
  readonly hostEpoch: number;
  readonly nowSeconds: number;
  readonly method: string;
  readonly path: string;
};

export type ClaimFault = { readonly reason: ClaimReason; readonly detail: string };

/** All but the body, which has not been read yet when this is asked. */
export function checkClaims(claims: HostRequest, expected: ExpectedRequest): ClaimFault | null {
  const { nowSeconds } = expected;
  const fault = (reason: ClaimReason, detail: string): ClaimFault => ({ reason, detail });
  if (claims.aud !== expected.controlId) {
    return fault(
      'audience_mismatch',
      `the token is for control ${claims.aud}, this is ${expected.controlId}`,
    );
  }
  if (claims.iss !== expected.hostId) {
    return fault(
      'issuer_mismatch',
      `the token speaks for ${claims.iss}, its key belongs to ${expected.hostId}`,
    );
  }
  if (claims.hostEpoch !== expected.hostEpoch) {
    return fault(
      'epoch_stale',
      `the token has host epoch ${claims.hostEpoch}, the host is at ${expected.hostEpoch}`,
    );
  }
  if (claims.exp - claims.iat > TOKEN_LIFETIME_SECONDS_MAX) {
    return fault(
      'lifetime_too_long',
      `the token lives ${claims.exp - claims.iat} s, at most ${TOKEN_LIFETIME_SECONDS_MAX} s are allowed`,
    );
  }
  if (claims.iat > nowSeconds + CLOCK_SKEW_SECONDS) {
    return fault(
      'not_yet_valid',
      `the token is from ${claims.iat - nowSeconds} s ahead: set the clock of the host`,
    );
  }
  if (claims.exp < nowSeconds - CLOCK_SKEW_SECONDS) {
    return fault(
      'expired',
      `the token ended ${nowSeconds - claims.exp} s ago: set the clock of the host`,
    );
  }
  if (claims.method !== expected.method) {
    return fault(
      'method_mismatch',
      `the token is for ${claims.method}, the request is ${expected.method}`,
    );
  }
  if (claims.path !== expected.path) {
    return fault(
      'path_mismatch',
      `the token is for ${claims.path}, the request is to ${expected.path}`,
    );
  }
  return null;
}

export function checkBodyDigest(claims: HostRequest, bodySha256: string): ClaimFault | null {
  if (claims.bodySha256 === bodySha256) return null;
  return { reason: 'body_mismatch', detail: 'the body is not the one that was signed' };
}
