/**
 * What came of one request to control. The two kinds of failure are never mixed (DESIGN 4):
 * `unreachable` says nothing about authority and may open an outage; `refused` is control's answer,
 * signed by it, and is obeyed.
 */
import { Compile } from 'typebox/compile';
import type { Instant } from '../../shared/core/time.ts';
import type { TransportResponse } from '../../shared/client/transport.ts';
import type { OutageCause } from '../../shared/wire/operation.ts';
import {
  ProblemSchema,
  isErrorCode,
  type ErrorCode,
  type Problem,
} from '../../shared/wire/problem.ts';

export type Unreachable = {
  readonly kind: 'unreachable';
  readonly cause: OutageCause;
  readonly detail: string;
  readonly retryAfterMs: number | null;
  /**
   * Somebody says, in control's words, that control takes back only so many at a time. Nobody signs
   * it, so it is believed as far as waiting goes: it closes no outage, and keeps one from opening for
   * a while only.
   */
  readonly isOverloaded?: true;
  /**
   * It is signed, by a key that this host does not know: by a stranger, or by control, which has
   * changed keys while this host was away. A bundle may bring that key, signed by one that it knows.
   */
  readonly isForeignKey?: true;
};

export type Refused = {
  readonly kind: 'refused';
  readonly code: ErrorCode;
  readonly detail: string;
};

export type LinkResult<T> =
  | { readonly kind: 'answer'; readonly payload: T; readonly sentAt: Instant }
  | Unreachable
  | Refused;

/** By these control withdraws what it granted to a host, in answer to any of its requests. */
export const HOST_WITHDRAWALS: readonly ErrorCode[] = [
  'unauthenticated',
  'forbidden',
  'host_unknown',
  'host_epoch_stale',
];

/**
 * Control's own answers to any request of a host; none is an outage. `host_signature_invalid`
 * withdraws nothing: control could not tell who asks (most often because the clock of the host is
 * wrong), and so says nothing about that host. Staleness bounds what it may cost.
 */
export const HOST_REFUSALS: readonly ErrorCode[] = [...HOST_WITHDRAWALS, 'host_signature_invalid'];

export function unreachable(
  cause: OutageCause,
  detail: string,
  retryAfterMs: number | null = null,
): Unreachable {
  return { kind: 'unreachable', cause, detail, retryAfterMs };
}

/**
 * An answer that is no success, as it reads. A refusal is our problem document with a code that
 * control gives to this very request: the 401 of a captive portal, the 403 of a proxy, or the 404
 * of a wrong address is none. Whether one is control's own is for `signed-refusal.ts` to say.
 */
export function fromFailure(
  response: TransportResponse,
  known: readonly ErrorCode[],
): Unreachable | Refused {
  const problem = problemOf(response);
  const { status } = response;
  const said = problem === null ? `status ${status}` : `${problem.code}: ${problem.detail}`;
  if (problem !== null && isErrorCode(problem.code) && known.includes(problem.code)) {
    return { kind: 'refused', code: problem.code, detail: problem.detail };
  }
  const retryAfterMs = problem?.retry_after_ms ?? retryAfterHeaderMs(response);
  if (problem?.code === 'overloaded') {
    const busy = unreachable('server_error', `control answered ${said}`, retryAfterMs);
    return { ...busy, isOverloaded: true };
  }
  if (status >= 500) return unreachable('server_error', `control answered ${said}`, retryAfterMs);
  if (status === 429)
    return unreachable('server_error', `control is limiting requests: ${said}`, retryAfterMs);
  return unreachable('bad_answer', `not an answer that control gives here: ${said}`, retryAfterMs);
}

const problemChecker = Compile(ProblemSchema);

function problemOf({ status, headers, body }: TransportResponse): Problem | null {
  if (!(headers['content-type'] ?? '').startsWith('application/problem+json')) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return null;
  }
  if (!problemChecker.Check(parsed)) return null;
  return parsed.status === status && parsed.type === `urn:holdfast:problem:${parsed.code}`
    ? parsed
    : null;
}

/** Seconds only; the form with a date would rest on two wall clocks. */
function retryAfterHeaderMs({ headers }: TransportResponse): number | null {
  const text = headers['retry-after'];
  return text !== undefined && /^[0-9]{1,6}$/.test(text) ? Number(text) * 1_000 : null;
}
