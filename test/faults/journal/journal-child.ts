/**
 * The journal with the shells around it, and neither HTTP nor control: requests come as lines on
 * standard input, answers go as lines to standard output. It starts fast, so that a campaign can
 * afford to break it often.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parse as parseYaml } from 'yaml';
import { Admissions } from '../../../dataplane/operations/admissions.ts';
import { Executions } from '../../../dataplane/operations/executions.ts';
import { Heartbeats } from '../../../dataplane/operations/heartbeats.ts';
import { NO_ALLOTMENTS, openLimits } from '../../../dataplane/operations/open-limits.ts';
import { openJournal } from '../../../dataplane/journal/open-journal.ts';
import { SystemClock } from '../../../shared/platform/clock.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';
import { StoreError } from '../../../shared/platform/sqlite.ts';
import type { PolicyDocument } from '../../../shared/wire/policy-document.ts';
import { HoldfastError } from '../../../shared/wire/problem.ts';
import { FakeAuthority, activePolicy } from '../../fakes/fake-authority.ts';
import type { CallAnswer, CallRequest } from '../history/history.ts';
import type { FromChild, ToChild } from './journal-process.ts';

const POLICY_FILE = new URL('../sidecar/campaign-policy.yaml', import.meta.url);
const APP = 'demo';

const send = (line: FromChild): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

async function main(directory: string): Promise<void> {
  const clock = new SystemClock();
  const random = new SystemRandom();
  const journal = await openJournal(directory, clock);
  const authority = new FakeAuthority();
  authority.active = activePolicy(parseYaml(readFileSync(POLICY_FILE, 'utf8')) as PolicyDocument);
  const executions = new Executions({
    journal,
    leases: authority.leases,
    notices: authority.notices,
    fresh: authority,
    heartbeats: new Heartbeats(),
    clock,
  });
  const limiting = openLimits({
    journal,
    clock,
    random,
    logger: createLogger({ name: 'campaign', level: 'silent' }),
    fleet: NO_ALLOTMENTS,
  });
  const admissions = new Admissions({
    journal,
    ...limiting,
    policy: authority,
    notices: authority.notices,
    leases: authority.leases,
    fresh: authority,
    outages: authority.outages,
    approvalsServed: () => true,
    clock,
    random,
    hostId: () => 'host_campaign',
    onDecision: () => undefined,
    onLimited: () => undefined,
  });
  const perform = makePerform(admissions, executions);
  createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, request, known } = JSON.parse(line) as ToChild;
    void perform(request, known).then(
      (answer) => send({ type: 'ok', id, answer }),
      (error: unknown) => {
        if (!(error instanceof HoldfastError)) throw error;
        send({ type: 'error', id, code: error.code, detail: error.message });
      },
    );
  });
  if (journal.quarantine !== null) throw new StoreError('corrupt', journal.quarantine);
  send({ type: 'ready' });
  // As the daemon does: callers are told first, then it ends.
  await journal.failed.catch((error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    setTimeout(() => process.exit(1), 50);
  });
}

function makePerform(admissions: Admissions, executions: Executions) {
  return async (request: CallRequest, known: ToChild['known']): Promise<CallAnswer> => {
    const { operationId, attempt } = known;
    const apply = (event: Parameters<Executions['apply']>[2]) =>
      executions.apply(operationId, APP, event);
    const answer = { operationId, replayed: false, attempt };
    switch (request.kind) {
      case 'admit': {
        const { operation, replayed } = await admissions.admit(
          { app: APP, idempotencyKey: request.key },
          {
            principal: 'agent:worker',
            action: 'jobs.run',
            attributes: { amount: request.amount },
          },
        );
        return { operationId: operation.operationId, replayed, attempt: operation.attempt };
      }
      case 'start_attempt': {
        const start = { supersede: false, key: request.token };
        const { operation } = await executions.startAttempt(operationId, APP, start);
        return { ...answer, attempt: operation.attempt };
      }
      case 'begin_effect': {
        const begin = { attempt, name: request.effect, key: request.token };
        return {
          ...answer,
          replayed: (await executions.beginEffect(operationId, APP, begin)).replayed,
        };
      }
      case 'settle_effect': {
        const { effect: name, outcome, result } = request;
        await apply({ kind: 'settle_effect', attempt, name, outcome, result });
        return answer;
      }
      case 'save_checkpoint':
        await apply({ kind: 'save_checkpoint', attempt, checkpoint: request.checkpoint });
        return answer;
      case 'report_outcome': {
        const { outcome, result } = request;
        await executions.reportOutcome(operationId, APP, {
          attempt,
          outcome,
          result,
          reason: null,
        });
        return answer;
      }
      case 'cancel':
        await apply({ kind: 'cancel', reason: 'the campaign cancels it' });
        return answer;
      case 'check_fence': {
        const { accepted } = await executions.checkFence(request.resource, request.epoch);
        if (!accepted) throw new HoldfastError('stale_owner', 'a higher token was seen');
        return answer;
      }
    }
  };
}

try {
  await main(process.argv[2] ?? '');
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof StoreError ? 3 : 1);
}
