/**
 * A revision that kills the sidecar while it is put in force, each time it is tried: the sidecar gives
 * it up by itself, boots what it had before, and carries on its accepted work (I11).
 */
import { join } from 'node:path';
import { Supervisor } from '../../../control/cli/dev/supervisor.ts';
import type { ControlClient, SidecarClient } from '../../../shared/client/index.ts';
import { SystemClock } from '../../../shared/platform/clock.ts';
import type { FailpointName } from '../../../shared/platform/failpoints.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';
import { pause } from '../pause.ts';
import { scratchDirectory } from '../scratch.ts';
import type { Undo } from '../undo.ts';
import { armedEnvironment, readFailpointReport, type CaseResult } from './failpoints-cases.ts';

export type PolicyKill = {
  readonly point: FailpointName;
  /** Whether the next start has it in force, or dies of it again. */
  readonly outcome: 'quarantined' | 'in_force';
};

export const POLICY_KILLS: readonly PolicyKill[] = [
  { point: 'policy.before_compile', outcome: 'quarantined' },
  { point: 'policy.before_swap', outcome: 'in_force' },
];

const BOUND_MS = 60_000;
const POLL_MS = 20;
const JOB = { principal: 'agent:notify', action: 'notifications.send' };

export async function runPolicyKill(
  { point, outcome }: PolicyKill,
  undo: Undo,
): Promise<CaseResult> {
  const { root, remove } = scratchDirectory(undo, 'revision');
  const reportFile = join(root, 'report.json');
  // The first revision is the first time that it is reached, here and at each start.
  const failpoints = `${point}=kill@2`;
  const armed = armedEnvironment(failpoints, reportFile).slice(1);
  const supervisor = await Supervisor.open({
    dataDir: join(root, 'data'),
    controlPort: 0,
    sidecarPort: 0,
    environment: process.env,
    sidecarSettings: {
      ...Object.fromEntries(armed.map((entry) => splitAt(entry, entry.indexOf('=')))),
      HOLDFAST_SYNC_INTERVAL: '200ms',
      HOLDFAST_BALLAST: '0B',
    },
    clock: new SystemClock(),
    random: new SystemRandom(),
    logLevel: 'warn',
    onLine: () => undefined,
    onEnd: () => undefined,
  });
  const abandon = undo.add('the daemons', () => supervisor.abandon());
  const problems: string[] = [];
  try {
    await supervisor.up();
    const clients = {
      sidecar: supervisor.openSidecarClient(),
      control: supervisor.openControlClient(),
    };
    try {
      await play({ supervisor, ...clients, outcome, problems });
    } finally {
      await clients.sidecar.close();
      await clients.control.close();
    }
  } finally {
    await supervisor.down();
    abandon();
  }
  const report = readFailpointReport(reportFile);
  // Each run writes its own; that of the one that ended well says what it reached.
  if (outcome === 'quarantined' && report?.killedAt !== null)
    problems.push(`the run after the quarantine was killed at ${report?.killedAt}`);
  remove();
  return { problems, lies: [], report: report === null ? null : { ...report, killedAt: point } };
}

type Stage = {
  readonly supervisor: Supervisor;
  readonly sidecar: SidecarClient;
  readonly control: ControlClient;
  readonly outcome: PolicyKill['outcome'];
  readonly problems: string[];
};

async function play({ supervisor, sidecar, control, outcome, problems }: Stage): Promise<void> {
  const { operation } = await sidecar.admit(JOB, { idempotencyKey: 'before' });
  const { policy, policyRevision: good } = await control.policy();
  const document = JSON.stringify({ ...policy, description: 'kills whoever looks at it' });
  const published = await control.publishPolicy(document, { format: 'json', replaces: good });
  const bad = published.policyRevision;
  const deaths = outcome === 'quarantined' ? 2 : 1;
  for (let death = 1; death <= deaths; death += 1) {
    await until(() => !supervisor.isRunning('sidecar'), `death ${death}`);
    // One that dies at once was never ready.
    await supervisor.start('sidecar').catch(() => undefined);
  }
  const { activeRevision, rejected } = await settledPolicy(
    sidecar,
    outcome === 'in_force' ? bad : good,
  );
  const wanted =
    outcome === 'in_force' ? activeRevision === bad : activeRevision === good && rejected !== null;
  if (!wanted)
    problems.push(`I11: in force ${activeRevision}, rejected ${JSON.stringify(rejected)}`);
  if (outcome === 'quarantined') {
    if (rejected?.policyRevision !== bad || !rejected.reason.startsWith('quarantined: '))
      problems.push(`I11: rejected is ${JSON.stringify(rejected)}`);
    await until(async () => {
      const [host] = (await control.hosts({ limit: 1 })).items;
      const told = host?.policyRejected ?? null;
      return told?.policyRevision === bad && told.reason.startsWith('quarantined: ');
    }, 'control is told');
  }
  // Accepted work goes on, and new work is taken.
  const { operationId } = operation;
  const { attempt } = await sidecar.startAttempt(operationId);
  const ended = await sidecar.reportOutcome({ operationId, attempt }, { outcome: 'succeeded' });
  if (ended.state !== 'succeeded') problems.push(`I8: accepted work ended as ${ended.state}`);
  const after = await sidecar.admit(JOB, { idempotencyKey: 'after' });
  if (after.operation.policyRevision !== activeRevision)
    problems.push(`I3: admitted under revision ${after.operation.policyRevision}`);
}

/** Only a sidecar that lives answers; the bound is for one that never does. */
async function settledPolicy(
  sidecar: SidecarClient,
  wanted: number,
): Promise<Awaited<ReturnType<SidecarClient['status']>>['policy']> {
  let policy: Awaited<ReturnType<SidecarClient['status']>>['policy'] | null = null;
  await until(async () => {
    ({ policy } = await sidecar.status());
    return (
      policy.activeRevision === wanted && (await sidecar.status()).control.state === 'connected'
    );
  }, `revision ${wanted} in force`);
  if (policy === null) throw new Error('the sidecar never answered');
  return policy;
}

async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + BOUND_MS;
  for (;;) {
    try {
      if (await isSo()) return;
    } catch {
      // Not up yet, or not any more.
    }
    if (performance.now() > endMs) throw new Error(`it never came to be: ${what}`);
    await pause(POLL_MS);
  }
}

const splitAt = (text: string, at: number): [string, string] => [
  text.slice(0, at),
  text.slice(at + 1),
];
