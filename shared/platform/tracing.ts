/**
 * Trace context, and spans for whoever registers an OpenTelemetry SDK (`--import`). There is no SDK
 * here, only the API.
 *
 * N1  Without an SDK a context is passed on as it came: into records, to control, back to the worker.
 *     With one, what is passed on is the span that was open.
 * N2  A request without a context, in a process without an SDK, pays one look at a header and none of
 *     the rest.
 * N3  The parent of a span is what is asked for, else the span around it, else the span that another
 *     instrumentation of the process has open.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  SpanKind,
  SpanStatusCode,
  context,
  isSpanContextValid,
  trace,
  type Attributes,
  type Context,
  type Span,
  type SpanContext,
  type TraceState,
  type TracerProvider,
} from '@opentelemetry/api';
import {
  parseTraceContext,
  spanIdOf,
  traceFlagsOf,
  traceIdOf,
  traceOf,
  type TraceContext,
  type Traced,
} from '../core/trace-context.ts';
import { VERSION } from '../core/version.ts';
import { HoldfastError, toProblem } from '../wire/problem.ts';

/** Attributes of our own; the others are those of the semantic conventions for HTTP. */
export const SPAN_ATTRIBUTES = {
  operationId: 'holdfast.operation.id',
  action: 'holdfast.action',
  rule: 'holdfast.rule',
  policyRevision: 'holdfast.policy.revision',
  basis: 'holdfast.decision.basis',
  decision: 'holdfast.decision',
  attempt: 'holdfast.attempt',
  effect: 'holdfast.effect',
  step: 'holdfast.effect.step',
  hostId: 'holdfast.host.id',
  outcome: 'holdfast.outcome',
  events: 'holdfast.report.events',
} as const;

export type SpanKindName = 'internal' | 'server' | 'client';
export type SpanFacts = Readonly<Record<string, string | number | boolean | null | undefined>>;
export type SpanOptions = {
  readonly kind?: SpanKindName;
  readonly facts?: SpanFacts;
  /** Instead of what is around it. */
  readonly parent?: TraceContext | null;
};
/** Told what came of it while it is open; does nothing where nobody listens. */
export type Tell = (facts: SpanFacts) => void;

const KINDS = { internal: SpanKind.INTERNAL, server: SpanKind.SERVER, client: SpanKind.CLIENT };
const storage = new AsyncLocalStorage<TraceContext>();
const tellNobody: Tell = () => undefined;

/** The global provider stands in for the one that is registered, or for one that does nothing. */
export function isHeard(): boolean {
  const provider = trace.getTracerProvider() as TracerProvider & { getDelegate?(): object };
  const registered = provider.getDelegate?.() ?? provider;
  return registered.constructor.name !== 'NoopTracerProvider';
}

/** What a call to somebody else is to carry. */
export function currentTrace(): TraceContext | null {
  const held = storage.getStore();
  if (held !== undefined) return held;
  const active = trace.getActiveSpan()?.spanContext();
  return active === undefined ? null : fromSpan(active);
}

/**
 * Everything that `work` sends is part of that trace: for a worker, the attempt that it goes on with.
 * Without a trace `work` runs as it is.
 */
export function runInTrace<T>(of: Traced | null, work: () => T): T {
  const within = of === null ? null : traceOf(of);
  return within === null ? work() : storage.run(within, work);
}

/** A span around `work`, ended with it; what `work` throws is recorded and thrown on. */
export function spanned<T>(
  name: string,
  options: SpanOptions,
  work: (tell: Tell) => Promise<T>,
): Promise<T> {
  if (!isHeard()) return runInTrace(options.parent ?? null, () => work(tellNobody));
  const open = openSpan(name, options);
  return open.run(async () => {
    try {
      const value = await work(open.tell);
      open.end();
      return value;
    } catch (error) {
      open.fail(error);
      throw error;
    }
  });
}

export type OpenSpan = {
  readonly context: TraceContext | null;
  readonly tell: Tell;
  run<T>(work: () => T): T;
  end(): void;
  fail(error: unknown): void;
};

/** For what begins and ends in different places; `null` where nobody listens. */
export function openSpanIfHeard(name: () => string, options: SpanOptions): OpenSpan | null {
  return isHeard() ? openSpan(name(), options) : null;
}

function openSpan(name: string, { kind = 'internal', facts = {}, parent }: SpanOptions): OpenSpan {
  const around = currentTrace();
  // N3.
  const within = contextOf(parent ?? around);
  const links =
    parent !== undefined &&
    parent !== null &&
    around !== null &&
    traceIdOf(parent) !== traceIdOf(around)
      ? [{ context: toSpan(around) }]
      : [];
  const span = trace
    .getTracer('holdfast', VERSION)
    .startSpan(name, { kind: KINDS[kind], attributes: attributesOf(facts), links }, within);
  const own = fromSpan(span.spanContext());
  return {
    context: own,
    tell: (told) => void span.setAttributes(attributesOf(told)),
    run: (work) => context.with(trace.setSpan(within, span), () => runInTrace(own, work)),
    end: () => span.end(),
    fail(error) {
      recordFailure(span, error);
      span.end();
    },
  };
}

/** A refusal is an answer: it has a type, and is no error of the daemon. */
function recordFailure(span: Span, error: unknown): void {
  if (error instanceof HoldfastError) {
    span.setAttribute('error.type', error.code);
    if (toProblem(error).status < 500) return;
  } else if (error instanceof Error) {
    span.setAttribute('error.type', error.name);
    span.recordException(error);
  }
  span.setStatus({ code: SpanStatusCode.ERROR, message: String(error) });
}

function attributesOf(facts: SpanFacts): Attributes {
  const attributes: Attributes = {};
  for (const [name, value] of Object.entries(facts)) {
    if (value !== null && value !== undefined) attributes[name] = value;
  }
  return attributes;
}

function contextOf(parent: TraceContext | null): Context {
  return parent === null
    ? context.active()
    : trace.setSpanContext(context.active(), toSpan(parent));
}

function toSpan(of: TraceContext): SpanContext {
  return {
    traceId: traceIdOf(of),
    spanId: spanIdOf(of),
    traceFlags: traceFlagsOf(of),
    isRemote: true,
    ...(of.tracestate === undefined ? {} : { traceState: new KeptState(of.tracestate) }),
  };
}

/** A `tracestate` that goes on as it came: only vendors read it. */
class KeptState implements TraceState {
  readonly #members: ReadonlyMap<string, string>;

  constructor(text: string | ReadonlyMap<string, string>) {
    this.#members =
      typeof text === 'string'
        ? new Map(
            text.split(',').map((member) => {
              const at = member.indexOf('=');
              return [member.slice(0, at).trim(), member.slice(at + 1).trim()];
            }),
          )
        : text;
  }

  get(key: string): string | undefined {
    return this.#members.get(key);
  }

  /** What is written last stands first. */
  set(key: string, value: string): TraceState {
    const others = [...this.#members].filter(([name]) => name !== key);
    return new KeptState(new Map([[key, value], ...others]));
  }

  unset(key: string): TraceState {
    return new KeptState(new Map([...this.#members].filter(([name]) => name !== key)));
  }

  serialize(): string {
    return [...this.#members].map(([key, value]) => `${key}=${value}`).join(',');
  }
}

function fromSpan(span: SpanContext): TraceContext | null {
  if (!isSpanContextValid(span)) return null;
  const flags = span.traceFlags.toString(16).padStart(2, '0');
  return parseTraceContext(
    `00-${span.traceId}-${span.spanId}-${flags}`,
    span.traceState?.serialize(),
  );
}
