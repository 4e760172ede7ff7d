/**
 * W3C trace context (Trace Context Level 1), as it comes in headers and is kept with an operation.
 * What does not fit is no context at all: a caller's broken header must not break its request.
 */
export type TraceContext = { readonly traceparent: string; readonly tracestate?: string };

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
/** The length that whoever passes it on must keep; what is longer is dropped, as the standard allows. */
export const TRACESTATE_LENGTH_MAX = 512;
const TRACESTATE = /^[\x20-\x7e]*$/;
const ZEROS = /^0+$/;

/** Of a later version, which may have more fields, the ones that are known are kept. */
export function parseTraceContext(traceparent: unknown, tracestate?: unknown): TraceContext | null {
  if (typeof traceparent !== 'string') return null;
  const [, version = 'ff', traceId = '', spanId = '', flags = '', more] =
    TRACEPARENT.exec(traceparent) ?? [];
  if (version === 'ff' || (version === '00' && more !== undefined)) return null;
  if (ZEROS.test(traceId) || ZEROS.test(spanId)) return null;
  const parsed = { traceparent: `00-${traceId}-${spanId}-${flags}` };
  const isKept =
    typeof tracestate === 'string' &&
    tracestate !== '' &&
    tracestate.length <= TRACESTATE_LENGTH_MAX &&
    TRACESTATE.test(tracestate);
  return isKept ? { ...parsed, tracestate } : parsed;
}

export const traceIdOf = ({ traceparent }: TraceContext): string => traceparent.slice(3, 35);
export const spanIdOf = ({ traceparent }: TraceContext): string => traceparent.slice(36, 52);
export const traceFlagsOf = ({ traceparent }: TraceContext): number =>
  Number.parseInt(traceparent.slice(53, 55), 16);

/** A record that may have one. */
export type Traced = {
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
};

export function traceOf({ traceparent, tracestate }: Traced): TraceContext | null {
  if (traceparent === undefined) return null;
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate };
}
