/**
 * The daemon answered, and the answer is no: the problem document (RFC 9457) it sent, as an error.
 */
import type { ErrorCode } from './error-table.ts';
import type { Problem } from './sidecar-shapes.ts';
import { UnreachableError, type TransportResponse } from './transport-port.ts';

/**
 * An answer, so nothing is in doubt: what was asked for did not happen, except where `code` is
 * `outcome_unknown`, which says that the daemon itself does not know. Decide by `code`, never by
 * the text.
 */
export class ProblemError extends Error {
  override name = 'ProblemError';
  readonly problem: Problem;
  /** How long the daemon asks to be left alone; `null` where it does not say. */
  readonly retryAfterMs: number | null;

  constructor(problem: Problem, retryAfterMs: number | null = null) {
    super(problem.detail);
    this.problem = problem;
    this.retryAfterMs = problem.retry_after_ms ?? retryAfterMs;
  }

  /**
   * Stable, from the table in `shared/wire/problem.ts`. A newer daemon may send one that is not in
   * it.
   */
  get code(): string {
    return this.problem.code;
  }

  /** Whether `code` is one of these; the compiler knows them all. */
  is(...codes: readonly ErrorCode[]): boolean {
    return (codes as readonly string[]).includes(this.code);
  }

  get status(): number {
    return this.problem.status;
  }

  /** Whether the same request may be answered otherwise later on. */
  get retryable(): boolean {
    return this.problem.retryable;
  }
}

/**
 * The error for an answer that is not a success. An answer without a problem document did not come
 * from a Holdfast daemon (a proxy, a captive portal, another program on that port), so it says
 * nothing about the request: that is `UnreachableError`.
 */
export function errorOfAnswer(
  response: TransportResponse,
  what: string,
): ProblemError | UnreachableError {
  const problem = problemIn(response);
  if (problem !== null) return new ProblemError(problem, retryAfterMsOf(response));
  const kind = response.status >= 500 ? 'server_error' : 'bad_answer';
  const type = response.headers['content-type'] ?? 'no content type';
  return new UnreachableError(
    kind,
    `${what} was answered with ${response.status} and without problem details (${type}): ` +
      'is that a Holdfast daemon?',
  );
}

function problemIn(response: TransportResponse): Problem | null {
  if (!(response.headers['content-type'] ?? '').startsWith('application/problem+json')) return null;
  let body: unknown;
  try {
    body = JSON.parse(response.body);
  } catch {
    // Cut short on its way: then it is no problem document either.
    return null;
  }
  if (typeof body !== 'object' || body === null) return null;
  const { code, detail, title, status, retryable } = body as Partial<Problem>;
  if (typeof code !== 'string') return null;
  return {
    ...(body as Problem),
    detail: detail ?? title ?? code,
    title: title ?? code,
    status: status ?? response.status,
    retryable: retryable === true,
  };
}

/** Only the form in seconds: our daemons send no other. */
function retryAfterMsOf(response: TransportResponse): number | null {
  const seconds = Number(response.headers['retry-after'] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : null;
}
