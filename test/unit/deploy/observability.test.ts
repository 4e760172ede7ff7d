import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { CONTROL_METRICS } from '../../../control/metrics.ts';
import { SIDECAR_METRICS } from '../../../dataplane/metrics.ts';
import type { MetricTable } from '../../../shared/platform/metrics.ts';
import { findProgram, programTest } from '../../skips.ts';
import { REPOSITORY_ROOT, findFiles, readText } from './deploy-files.ts';

type Rule = {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: { readonly severity: string; readonly plane: string };
  readonly annotations?: { readonly runbook: string };
};
type Panel = {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
};
type Dashboard = { readonly uid: string; readonly panels: readonly Panel[] };

const { groups } = parse(readText('deploy/prometheus/rules.yml')) as {
  groups: { name: string; rules: Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);
const alerts = rules.filter(({ alert }) => alert !== undefined);
const dashboards = findFiles('deploy/grafana/*.json').map((path) => ({
  path,
  dashboard: JSON.parse(readText(path)) as Dashboard,
}));

const exposed: ReadonlySet<string> = new Set([
  ...namesOf(CONTROL_METRICS),
  ...namesOf(SIDECAR_METRICS),
  ...rules.flatMap(({ record }) => record ?? []),
]);

function namesOf(table: MetricTable): string[] {
  return Object.entries(table).flatMap(([name, { kind }]) =>
    kind === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => name + end) : [name],
  );
}

function unknownIn(expr: string): string[] {
  return [...expr.matchAll(/\bholdfast[_:][a-z0-9_:]*/g)]
    .map(([name]) => name)
    .filter((name) => !exposed.has(name));
}

function promtool(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(findProgram('promtool') ?? 'promtool', args, {
    cwd: join(REPOSITORY_ROOT, 'deploy/prometheus'),
    encoding: 'utf8',
  });
  return { status, text: `${stdout}${stderr}` };
}

describe('the rules for Prometheus', () => {
  programTest('promtool')('pass promtool', () => {
    expect(promtool('check', 'config', 'prometheus.yml')).toMatchObject({ status: 0 });
    const { status, text } = promtool('test', 'rules', 'rules.test.yml');
    expect(text).toContain('SUCCESS');
    expect(status).toBe(0);
  });

  test('name only metrics that the daemons expose', () => {
    expect(rules.flatMap(({ expr }) => unknownIn(expr))).toEqual([]);
    expect(unknownIn('rate(holdfast_no_such_total[5m])')).toEqual(['holdfast_no_such_total']);
  });

  test('say for each alert whose plane it is, how bad, and what to do', () => {
    const headings = [...readText('deploy/prometheus/runbook.md').matchAll(/^## (.+)$/gm)];
    expect(new Set(alerts.map(({ alert }) => alert))).toEqual(
      new Set(headings.map(([, heading]) => heading)),
    );
    for (const { alert = '', labels, annotations } of alerts) {
      expect(labels?.plane).toMatch(/^(control|data)$/);
      expect(labels?.severity).toMatch(/^(warning|critical)$/);
      expect(annotations?.runbook).toBe(`runbook.md#${alert.toLowerCase()}`);
    }
  });
});

describe.each(dashboards)('the dashboard $path', ({ dashboard }) => {
  const { panels } = dashboard;

  test('names only metrics that the daemons expose', () => {
    const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    expect(exprs.length).toBeGreaterThan(10);
    expect(exprs.flatMap(unknownIn)).toEqual([]);
  });

  test('has panels that can be told apart, each with something to show', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { type, title, targets = [] } of panels) {
      expect(title).not.toBe('');
      expect(targets.length > 0).toBe(type !== 'row');
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
    }
  });

  programTest('promtool')('has expressions that Prometheus can read', () => {
    const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    const file = join(mkdtempSync(join(tmpdir(), 'panels-')), 'rules.yml');
    const rulesOfPanels = exprs.map((expr, index) => ({ record: `panel:${index}`, expr }));
    // JSON is YAML.
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules: rulesOfPanels }] }));
    const { status, text } = promtool('check', 'rules', '--lint=none', file);
    rmSync(dirname(file), { recursive: true });
    expect(text).toContain('SUCCESS');
    expect(status).toBe(0);
  });
});
