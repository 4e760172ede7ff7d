/** Both expositions of one registry, and the conventions of every metric there is. */
import { describe, expect, test } from 'vitest';
import { CONTROL_METRICS } from '../../../control/metrics.ts';
import { SIDECAR_METRICS } from '../../../dataplane/metrics.ts';
import { createMetrics, type MetricDefinition } from '../../../shared/platform/metrics.ts';

const OPENMETRICS = 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5';
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const SPAN_ID = 'b7ad6b7169203331';
const trace = (flags: string) => ({ traceparent: `00-${TRACE_ID}-${SPAN_ID}-${flags}` });

function exposed() {
  const metrics = createMetrics({
    holdfast_done_total: { kind: 'counter', help: 'Done', labels: ['how'] },
    holdfast_open: { kind: 'gauge', help: 'Open' },
    holdfast_wait_seconds: {
      kind: 'histogram',
      help: 'Waited',
      labels: ['route'],
      buckets: [1, 2],
    },
  });
  metrics.add('holdfast_done_total', { how: 'well' });
  metrics.set('holdfast_open', 3);
  metrics.observe('holdfast_wait_seconds', 0.5, { route: '/a' }, trace('01'));
  metrics.observe('holdfast_wait_seconds', 1.5, { route: '/a' }, trace('00'));
  metrics.observe('holdfast_wait_seconds', 9, { route: '/a' });
  return metrics;
}

describe('the exposition', () => {
  test('is OpenMetrics with exemplars of sampled traces where that is asked for', async () => {
    const { contentType, body } = await exposed().expose(OPENMETRICS);
    expect(contentType).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    const lines = body.split('\n');
    expect(lines).toContain('# TYPE holdfast_done counter');
    expect(lines).toContain('holdfast_done_total{how="well"} 1');
    expect(lines).toContain('holdfast_open 3');
    const buckets = lines.filter((line) => line.startsWith('holdfast_wait_seconds_bucket'));
    expect(buckets[0]).toMatch(
      new RegExp(`^\\S+ 1 # \\{trace_id="${TRACE_ID}",span_id="${SPAN_ID}"\\} 0.5 [0-9.]+$`),
    );
    expect(buckets.slice(1).join()).not.toContain('#');
    expect(body.endsWith('\n# EOF\n')).toBe(true);
    expect(body).not.toMatch(/\n\n/);
  });

  test('is the text form else, also after OpenMetrics was asked for, and at the same time', async () => {
    const metrics = exposed();
    const before = await metrics.expose();
    const [after] = await Promise.all([metrics.expose('text/plain'), metrics.expose(OPENMETRICS)]);
    expect(after).toEqual(before);
    expect(before.contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(before.body).toContain('holdfast_done_total{how="well"} 1');
    expect(before.body).not.toContain(TRACE_ID);
    // What is counted after a scrape is counted in both.
    metrics.add('holdfast_done_total', { how: 'well' });
    for (const accept of ['', OPENMETRICS])
      expect((await metrics.expose(accept)).body).toContain('holdfast_done_total{how="well"} 2');
  });
});

/** Whatever a label may be: sets that the code bounds. Never an id, a key, a principal, a resource. */
const LABELS = [
  'action',
  'as',
  'basis',
  'cause',
  'daemon',
  'decision',
  'kind',
  'limit',
  'method',
  'order',
  'outcome',
  'readable',
  'reason',
  'request',
  'route',
  'rule',
  'source',
  'state',
  'status',
  'strategy',
  'target',
  'transition',
  'verb',
  'verdict',
  'version',
  'why',
];
const UNITS = /_(?:seconds|bytes|total|info|commands|ratio)$/;
const COUNTS = /_(?:seq|epoch|revision)$/;

describe.each([
  ['control', CONTROL_METRICS],
  ['the sidecar', SIDECAR_METRICS],
])('the metrics of %s', (_, table) => {
  const entries: [string, MetricDefinition][] = Object.entries(table);

  test('have one prefix, a unit last, _total on counters alone, and base units', () => {
    for (const [name, { kind }] of entries) {
      expect(name).toMatch(/^holdfast_[a-z]+(?:_[a-z]+)*$/);
      expect(name.endsWith('_total'), name).toBe(kind === 'counter');
      expect(name, 'base units').not.toMatch(/_(?:ms|milliseconds|minutes|hours|kib|mib|percent)$/);
      expect(kind !== 'histogram' || UNITS.test(name), `${name}: a unit`).toBe(true);
    }
  });

  test('say when something was, not how long ago', () => {
    for (const [name, { kind }] of entries) {
      expect(name, 'a timestamp rather than an age').not.toMatch(
        /_(?:age|staleness|since|ago)(?:_|$)/,
      );
      const isTime = name.includes('_timestamp');
      expect(isTime ? name.endsWith('_timestamp_seconds') && kind === 'gauge' : true, name).toBe(
        true,
      );
      expect(COUNTS.test(name) && kind !== 'gauge', name).toBe(false);
    }
  });

  test('have labels whose values are bounded, and a sentence of help without a full stop', () => {
    for (const [name, { labels = [], help }] of entries) {
      expect([name, labels.filter((label) => !LABELS.includes(label))]).toEqual([name, []]);
      expect(help).toMatch(/^[A-Z0-9].*[^.]$/);
    }
  });
});
