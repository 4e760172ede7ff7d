/** Metrics from one table a daemon: every name, its help, and its labels, which never vary. */
import { Counter, Gauge, Histogram, Registry, type Metric } from 'prom-client';
import { spanIdOf, traceFlagsOf, traceIdOf, type TraceContext } from '../core/trace-context.ts';

export type MetricDefinition = {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels?: readonly string[];
  /** Of a histogram; latency buckets where it does not say. */
  readonly buckets?: readonly number[];
};

export type MetricTable = Readonly<Record<string, MetricDefinition>>;
type Labels = Readonly<Record<string, string | number>>;

/** Seconds; dense where an fsync and an HTTP call live. */
export const LATENCY_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
] as const;

export type Metrics<T extends MetricTable> = {
  /** Adds to a counter. */
  add(name: keyof T & string, labels?: Labels, amount?: number): void;
  /** Sets a gauge. */
  set(name: keyof T & string, value: number, labels?: Labels): void;
  /** Forgets all label values of a gauge, before it is set anew. */
  reset(name: keyof T & string): void;
  /** With the trace that it was part of, which is shown as the exemplar of its bucket. */
  observe(
    name: keyof T & string,
    value: number,
    labels?: Labels,
    trace?: TraceContext | null,
  ): void;
  /** Runs before each scrape, to set gauges that are read rather than kept. */
  beforeScrape(collect: () => void | Promise<void>): void;
  /** The exposition in the form that is asked for, and its content type. */
  expose(accept?: string): Promise<Exposition>;
};

export type Exposition = { readonly contentType: string; readonly body: string };

export function createMetrics<T extends MetricTable>(table: T): Metrics<T> {
  // Exemplars are for OpenMetrics alone, and the library has it of the registry that holds them.
  const registry = new Registry<OpenMetrics>(Registry.OPENMETRICS_CONTENT_TYPE);
  const counters = new Map<string, Counter<string>>();
  const gauges = new Map<string, Gauge<string>>();
  const histograms = new Map<string, Histogram<string>>();
  for (const [name, definition] of Object.entries(table)) {
    const common = {
      name,
      help: definition.help,
      labelNames: [...(definition.labels ?? [])],
      registers: [registry],
    };
    if (definition.kind === 'counter') counters.set(name, new Counter(common));
    else if (definition.kind === 'gauge') gauges.set(name, new Gauge(common));
    else
      histograms.set(
        name,
        new Histogram({
          ...common,
          buckets: [...(definition.buckets ?? LATENCY_BUCKETS_SECONDS)],
          enableExemplars: true,
        }),
      );
  }
  const text = viewsOf(registry, new Registry(Registry.PROMETHEUS_CONTENT_TYPE));
  const openMetrics = viewsOf(registry, new Registry(Registry.OPENMETRICS_CONTENT_TYPE));
  const collectors: (() => void | Promise<void>)[] = [];
  return {
    add: (name, labels = {}, amount = 1) => counters.get(name)?.inc({ ...labels }, amount),
    set: (name, value, labels = {}) => gauges.get(name)?.set({ ...labels }, value),
    reset: (name) => gauges.get(name)?.reset(),
    observe: (name, value, labels = {}, trace = null) =>
      histograms.get(name)?.observe({ labels: { ...labels }, value, ...exemplarOf(trace) }),
    beforeScrape: (collect) => collectors.push(collect),
    async expose(accept = '') {
      for (const collect of collectors) await collect();
      const asked = accept.includes(OPENMETRICS) ? openMetrics : text;
      return { contentType: asked.contentType, body: await asked.metrics() };
    },
  };
}

const OPENMETRICS = 'application/openmetrics-text';
const IS_SAMPLED = 1;

/** Of a trace that somebody keeps: one that was not sampled leads nowhere. */
function exemplarOf(trace: TraceContext | null): { exemplarLabels?: Record<string, string> } {
  if (trace === null || (traceFlagsOf(trace) & IS_SAMPLED) === 0) return {};
  return { exemplarLabels: { trace_id: traceIdOf(trace), span_id: spanIdOf(trace) } };
}

/**
 * The metrics of `source` for one form of the exposition. A counter is named without its `_total` in
 * OpenMetrics, and the library renames the counter itself, for every later scrape in the other form
 * too: what it renames here is a view.
 */
function viewsOf<T extends Registry<OpenMetrics> | Registry>(
  source: Registry<OpenMetrics>,
  views: T,
): T {
  for (const metric of source.getMetricsAsArray()) {
    const held = metric as unknown as Source;
    const read = (): Promise<object> => held.getForPromString?.() ?? held.get();
    const view = {
      name: metric.name,
      type: metric.type,
      get: async () => ({ ...(await read()), name: view.name }),
    };
    views.registerMetric(view as unknown as Metric);
  }
  return views;
}

type OpenMetrics = typeof Registry.OPENMETRICS_CONTENT_TYPE;
type Source = {
  getForPromString?(): Promise<object>;
  get(): Promise<object>;
};
