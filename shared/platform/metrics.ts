/** Metrics from one table a daemon: every name, its help, and its labels, which never vary. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

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
  observe(name: keyof T & string, value: number, labels?: Labels): void;
  /** Runs before each scrape, to set gauges that are read rather than kept. */
  beforeScrape(collect: () => void | Promise<void>): void;
  /** The exposition, and its content type. */
  expose(): Promise<{ contentType: string; body: string }>;
};

export function createMetrics<T extends MetricTable>(table: T): Metrics<T> {
  const registry = new Registry();
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
        new Histogram({ ...common, buckets: [...(definition.buckets ?? LATENCY_BUCKETS_SECONDS)] }),
      );
  }
  const collectors: (() => void | Promise<void>)[] = [];
  return {
    add: (name, labels = {}, amount = 1) => counters.get(name)?.inc({ ...labels }, amount),
    set: (name, value, labels = {}) => gauges.get(name)?.set({ ...labels }, value),
    reset: (name) => gauges.get(name)?.reset(),
    observe: (name, value, labels = {}) => histograms.get(name)?.observe({ ...labels }, value),
    beforeScrape: (collect) => collectors.push(collect),
    async expose() {
      for (const collect of collectors) await collect();
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
  };
}
