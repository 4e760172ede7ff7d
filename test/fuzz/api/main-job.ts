/**
 * What the daemons are there for, done once more after the fuzzing: a policy is published, work is admitted
 * under it on the host, done, settled, and told to control.
 */
import { parse } from 'yaml';
import {
  ProblemError,
  type ControlClient,
  type SidecarClient,
} from '../../../shared/client/index.ts';
import { pause } from '../../faults/pause.ts';
import type { JoinedDaemons } from '../../faults/sidecar/joined-daemons.ts';
import { POLICY_TEXT } from './api-site.ts';

/** Reports are told to wait for up to a minute where many came at once. */
const BOUND_MS = 180_000;
const POLL_MS = 50;

/** What did not work, or `null`. */
export async function mainJobProblem(site: JoinedDaemons, name: string): Promise<string | null> {
  const control = site.controlClient();
  const sidecar = site.sidecar.target.client;
  try {
    const policyRevision = await publish(control, name);
    await until(
      async () => (await sidecar.status()).policy.activeRevision === policyRevision,
      `revision ${policyRevision} in force on the host`,
    );
    const operationId = await doWork(sidecar, name);
    await until(async () => {
      try {
        return (await control.operation(operationId)).state === 'succeeded';
      } catch (error) {
        if (error instanceof ProblemError && error.status === 404) return false;
        throw error;
      }
    }, `${operationId} told to control`);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await control.close();
  }
}

/** Tried again: requests may have left a roll-out under way, or a host that claims to know more. */
async function publish(control: ControlClient, name: string): Promise<number> {
  const startedMs = performance.now();
  const document = { ...(parse(POLICY_TEXT) as object), description: name };
  for (;;) {
    const { policyRevision: replaces } = await control.policy();
    try {
      // Goes to every host at once, whatever roll-out is under way.
      await control.rollBackPolicy(1, { replaces, rollout: 'all' });
      const { policyRevision } = await control.policy();
      const result = await control.publishPolicy(JSON.stringify(document), {
        format: 'json',
        replaces: policyRevision,
        rollout: 'all',
      });
      if (!('policyRevision' in result))
        throw new Error('the publication waits for a second person');
      return result.policyRevision;
    } catch (error) {
      if (!(error instanceof ProblemError) || performance.now() - startedMs > BOUND_MS) throw error;
      await pause(POLL_MS * 10);
    }
  }
}

async function doWork(sidecar: SidecarClient, name: string): Promise<string> {
  const { operation } = await sidecar.admit(
    { principal: 'agent:worker', action: 'jobs.run', attributes: { amount: 5 } },
    { idempotencyKey: `main-job-${name}` },
  );
  const { operationId } = operation;
  const { attempt } = await sidecar.startAttempt(operationId, {
    idempotencyKey: `attempt-${name}`,
  });
  const effect = { operationId, attempt, effect: 'charge' };
  await sidecar.beginEffect(effect, { idempotencyKey: `effect-${name}` });
  await sidecar.settleEffect(effect, { outcome: 'succeeded' });
  const settled = await sidecar.reportOutcome({ operationId, attempt }, { outcome: 'succeeded' });
  if (settled.state !== 'succeeded') throw new Error(`${operationId} is ${settled.state}`);
  return operationId;
}

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const startedMs = performance.now();
  while (!(await isSo())) {
    if (performance.now() - startedMs > BOUND_MS) throw new Error(`it never came to be: ${what}`);
    await pause(POLL_MS);
  }
}
