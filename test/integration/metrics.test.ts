/** What Prometheus gets from both daemons, after some work has been done. */
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Supervisor } from '../../control/cli/dev/supervisor.ts';
import { startDevDaemons, type DevDaemons } from '../fakes/dev-daemons.ts';
import { CONTROL_METRICS } from '../../control/metrics.ts';
import { SIDECAR_METRICS } from '../../dataplane/metrics.ts';
import { findProgram, programTest } from '../skips.ts';

let daemons: DevDaemons;
let supervisor: Supervisor;
const exposition = { control: '', sidecar: '' };

beforeAll(async () => {
  daemons = await startDevDaemons();
  supervisor = daemons.supervisor;
  const sidecar = supervisor.openSidecarClient();
  const notify = { principal: 'agent:notify', action: 'notifications.send' };
  await sidecar.admit(notify, { idempotencyKey: 'n-1' });
  await sidecar.admit({ ...notify, action: 'no.such' }, { idempotencyKey: 'n-2' }).catch(() => {});
  await sidecar.close();
  for (const daemon of ['control', 'sidecar'] as const) {
    const answer = await fetch(`${supervisor.url(daemon)}/metrics`);
    exposition[daemon] = await answer.text();
  }
}, 60_000);

afterAll(async () => {
  await daemons.close();
}, 60_000);

describe.each(['control', 'sidecar'] as const)('the metrics of %s', (daemon) => {
  programTest('promtool')('pass promtool check metrics', () => {
    const { status, stdout, stderr } = spawnSync(
      findProgram('promtool') ?? 'promtool',
      ['check', 'metrics'],
      {
        input: exposition[daemon],
        encoding: 'utf8',
      },
    );
    expect(`${stdout}${stderr}`).toBe('');
    expect(status).toBe(0);
  });

  test('are those of its table, each with its help, under one prefix', () => {
    const table = daemon === 'control' ? CONTROL_METRICS : SIDECAR_METRICS;
    const exposed = exposition[daemon].match(/(?<=^# HELP )\S+(?= \S)/gm) ?? [];
    expect(new Set(exposed)).toEqual(new Set(Object.keys(table)));
    expect(exposed.filter((name) => !name.startsWith('holdfast_'))).toEqual([]);
  });
});

test('the work that was done is counted by decision, reason and basis', () => {
  expect(exposition.sidecar).toMatch(
    /holdfast_admissions_total\{decision="admitted",reason="permitted",basis="cached"\} 1/,
  );
  expect(exposition.sidecar).toMatch(
    /holdfast_admissions_total\{decision="refused",reason="no_rule",basis="cached"\} 1/,
  );
  expect(exposition.sidecar).toMatch(
    /holdfast_outage_budget_seconds\{action="payments.refund"\} 0/,
  );
  expect(exposition.control).toMatch(/holdfast_control_policy_revision 1/);
});
