/** A real Prometheus, with the rules that are shipped, scraping both daemons. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, expect } from 'vitest';
import { parse, stringify } from 'yaml';
import { startDevDaemons, type DevDaemons } from '../fakes/dev-daemons.ts';
import { findProgram, programTest } from '../skips.ts';

type ScrapeConfig = { job_name: string; static_configs: { targets: string[] }[] };
type Configuration = {
  global: Record<string, string>;
  scrape_configs: ScrapeConfig[];
};
type Answer<Data> = { readonly status: string; readonly data: Data };
type Series = { readonly metric: Record<string, string>; readonly value: [number, string] };

const SHIPPED = join(import.meta.dirname, '..', '..', 'deploy', 'prometheus');

let directory = '';
let prometheus: ChildProcess | null = null;
let daemons: DevDaemons | null = null;

afterEach(async () => {
  if (prometheus !== null) {
    const gone = once(prometheus, 'exit');
    prometheus.kill('SIGKILL');
    await gone;
  }
  await daemons?.close();
  if (directory !== '') rmSync(directory, { recursive: true });
}, 60_000);

/** The shipped files, with the addresses of this test and a scrape each 100 ms. */
function writeConfiguration(targets: Readonly<Record<string, string>>): void {
  const configuration = parse(
    readFileSync(join(SHIPPED, 'prometheus.yml'), 'utf8'),
  ) as Configuration;
  configuration.global = { scrape_interval: '100ms', evaluation_interval: '100ms' };
  for (const job of configuration.scrape_configs) {
    job.static_configs = [{ targets: [new URL(targets[job.job_name] ?? '').host] }];
  }
  cpSync(join(SHIPPED, 'rules.yml'), join(directory, 'rules.yml'));
  writeFileSync(join(directory, 'prometheus.yml'), stringify(configuration));
}

async function startPrometheus(): Promise<string> {
  prometheus = spawn(
    findProgram('prometheus') ?? 'prometheus',
    [
      `--config.file=${join(directory, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      '--web.listen-address=127.0.0.1:0',
      '--log.format=json',
      '--enable-feature=exemplar-storage',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  if (prometheus.stderr === null) throw new Error('Prometheus has no standard error');
  const said: string[] = [];
  for await (const line of createInterface({ input: prometheus.stderr })) {
    said.push(line);
    const { msg, address } = JSON.parse(line) as { msg?: string; address?: string };
    if (msg === 'Listening on' && address !== undefined) return `http://${address}`;
  }
  throw new Error(`Prometheus ended:\n${said.join('\n')}`);
}

/** Asks until the answer is what it must become; each question is answered by a scrape later on. */
async function until<Data>(url: string, isRight: (data: Data) => boolean): Promise<Data> {
  for (;;) {
    const response = await fetch(url).catch(() => null);
    const answer = response?.ok === true ? ((await response.json()) as Answer<Data>) : null;
    if (answer !== null && isRight(answer.data)) return answer.data;
  }
}

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';

/** A request of a trace comes back as the exemplar of its latency. */
async function exemplar(sidecarUrl: string, prometheusUrl: string): Promise<void> {
  const headers = {
    'holdfast-request': '1',
    traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01`,
  };
  // Whatever it is answered: it is the latency that is looked at.
  const answer = await fetch(`${sidecarUrl}/v1/operations`, { headers });
  await answer.body?.cancel();
  type Found = { readonly exemplars: { readonly labels: Record<string, string> }[] };
  const query = new URLSearchParams({
    query: 'holdfast_http_request_duration_seconds_bucket{route="/v1/operations"}',
    start: '0',
    end: String(Number.MAX_SAFE_INTEGER / 1_000_000),
  });
  const found = await until<Found[]>(
    `${prometheusUrl}/api/v1/query_exemplars?${query.toString()}`,
    (data) => data.length > 0,
  );
  const labels = found.flatMap(({ exemplars }) => exemplars.map((one) => one.labels));
  expect(labels).toContainEqual({ trace_id: TRACE_ID, span_id: 'b7ad6b7169203331' });
}

programTest('prometheus')(
  'Prometheus scrapes both daemons, and the killing of control is an outage in its rules',
  async () => {
    directory = mkdtempSync(join(tmpdir(), 'prometheus-'));
    daemons = await startDevDaemons();
    const { supervisor } = daemons;
    writeConfiguration({
      'holdfast-control': supervisor.url('control'),
      'holdfast-sidecar': supervisor.url('sidecar'),
    });
    const url = await startPrometheus();
    const query = (expr: string): string => `${url}/api/v1/query?query=${encodeURIComponent(expr)}`;
    const value = async (expr: string, wanted: string): Promise<void> => {
      const isRight = ({ result }: { result: Series[] }): boolean =>
        result.length > 0 && result.every((series) => series.value[1] === wanted);
      await until(query(expr), isRight);
    };
    await value('count(up == 1)', '2');
    await value('holdfast_control_policy_revision', '1');
    await value('holdfast_policy_revision', '1');
    await value('holdfast_outage_open', '0');
    await exemplar(supervisor.url('sidecar'), url);

    await supervisor.kill('control');
    await value('up{job="holdfast-control"}', '0');
    await value('up{job="holdfast-sidecar"}', '1');
    await value('holdfast_outage_open', '1');
    type Alerts = { readonly alerts: { labels: Record<string, string>; state: string }[] };
    const names = ['HoldfastControlDown', 'HoldfastControlUnreachable'];
    const { alerts } = await until<Alerts>(`${url}/api/v1/alerts`, (data) =>
      names.every((name) => data.alerts.some(({ labels }) => labels['alertname'] === name)),
    );
    const planes = new Set(alerts.map(({ labels }) => labels['plane']));
    expect(planes).toEqual(new Set(['control']));
  },
  60_000,
);
