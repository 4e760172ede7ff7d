/**
 * Registers the OpenTelemetry SDK before a daemon starts, and prints its spans:
 *
 *     node --import ./deploy/examples/tracing/register.ts dataplane/main.ts --config …
 *
 * Holdfast makes its spans through `@opentelemetry/api` and carries no SDK; which one there is, where
 * it sends to and what it samples is decided here. `README.md` says how to send to a collector.
 */
import { trace } from '@opentelemetry/api';
import {
  BatchSpanProcessor,
  ConsoleSpanExporter,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';

/** Of traces that begin here, as those of syncs; an app that has decided already is followed. */
const SAMPLED = 0.01;

const provider = new TracerProvider({
  sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(SAMPLED) }),
  spanProcessors: [new BatchSpanProcessor({ exporter: new ConsoleSpanExporter() })],
});
trace.setGlobalTracerProvider(provider);

// While the daemon ends its work: it leaves by `process.exit`, before `beforeExit` would come.
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => void provider.forceFlush());
