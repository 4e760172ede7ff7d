/**
 * The port to the network. A transport either brings the peer's answer, whatever its status, or
 * throws `UnreachableError`; it never retries and never decides.
 */
import type { OutageCause } from './sidecar-shapes.ts';

export type TransportRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Told when the peer has taken the connection, just before the request goes over it. */
  readonly onConnected?: () => void;
};

export type TransportResponse = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

export interface Transport {
  send(request: TransportRequest): Promise<TransportResponse>;
  close(): Promise<void>;
}

export type Target = { readonly url: string; readonly socketPath?: string };

export const RESPONSE_BYTES_MAX = 64 * 1024 * 1024;

/** No answer came: the request may or may not have been acted upon. */
export class UnreachableError extends Error {
  override name = 'UnreachableError';
  readonly kind: OutageCause;

  constructor(kind: OutageCause, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

const KINDS: Readonly<Record<string, OutageCause>> = {
  ECONNREFUSED: 'refused',
  ENOENT: 'refused',
  EACCES: 'refused',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  UND_ERR_SOCKET: 'reset',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'timeout',
  ENETUNREACH: 'timeout',
  UND_ERR_RES_EXCEEDED_MAX_SIZE: 'bad_answer',
};

/** What OpenSSL and Node call what went wrong with a handshake or a certificate. */
const TLS_CODES =
  /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO_|CRL_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|HOSTNAME_MISMATCH|EPROTO/;

export type Failed = {
  readonly request: TransportRequest;
  readonly url: string;
  /** By its own time-out. */
  readonly timedOut: boolean;
  /** Where the transport knows it. */
  readonly isConnected?: boolean;
};

/** What went wrong with a request. */
export function unreachable(
  error: unknown,
  { request, url, timedOut, isConnected = false }: Failed,
): UnreachableError {
  if (request.signal?.aborted)
    return new UnreachableError('timeout', 'the call was given up', error);
  const what = `${request.method} ${url}${request.path}`;
  if (timedOut) {
    const said = isConnected ? 'took the connection and gave' : 'gave';
    return new UnreachableError(
      isConnected ? 'half_open' : 'timeout',
      `${what} ${said} no answer in ${request.timeoutMs} ms`,
      error,
    );
  }
  const code = codeOf(error);
  if (TLS_CODES.test(code)) return new UnreachableError('tls', `${what}: ${code}`, error);
  const named = KINDS[code] ?? (code.startsWith('HPE_') ? 'bad_answer' : 'reset');
  const kind = named === 'timeout' && isConnected ? 'half_open' : named;
  return new UnreachableError(
    kind,
    `${what}: ${code || (error instanceof Error ? error.message : String(error))}`,
    error,
  );
}

function codeOf(error: unknown): string {
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown[] };
  if (typeof code === 'string') return code;
  if (Array.isArray(errors) && errors.length > 0) return codeOf(errors[0]);
  return cause === undefined ? '' : codeOf(cause);
}
