/** The story of one operation in sentences, from its record and its entries alone. */
import { formatDurationMs } from '../../shared/core/time.ts';
import type { Effect, JournalEvent, Outage } from '../../shared/wire/operation.ts';
import { approvalStory } from './approval-story.ts';
import type { StoredOperation } from './operation-record.ts';
import { reconciliationOf } from './reconciliation.ts';

export function explainOperation(
  operation: StoredOperation,
  events: readonly JournalEvent[],
  outage: Outage | null,
): string[] {
  return [
    ...explainAdmission(operation, outage),
    ...events.flatMap((event) => explainEvent(event, operation)),
    explainEnd(operation),
  ];
}

function explainAdmission(operation: StoredOperation, outage: Outage | null): string[] {
  const { basis, stalenessMs, policyRevision, rule, leaseResource, leaseEpoch } = operation;
  const age = formatDurationMs(stalenessMs);
  const lines = [
    `${operation.principal} asked for ${operation.action} on ${operation.resource.id || '(no resource)'} with key ${operation.idempotencyKey}.`,
    basis === 'fresh'
      ? `Rule ${rule} of policy revision ${policyRevision} permitted it; control was asked for this request and answered in ${age}.`
      : `Rule ${rule} of policy revision ${policyRevision} permitted it from cached authority that control had confirmed ${age} before.`,
  ];
  if (leaseResource !== null)
    lines.push(
      `This host held the lease of ${leaseResource} at epoch ${leaseEpoch}${operation.leaseInGrace ? ', in its grace after the end' : ''}.`,
    );
  lines.push(
    outage === null
      ? 'Control was in reach.'
      : `Control was out of reach: outage ${outage.outageId} (${outage.cause}).`,
  );
  lines.push(...operation.warnings.map((warning) => `Policy warned: ${warning}.`));
  return lines;
}

function explainEvent(event: JournalEvent, operation: StoredOperation): string[] {
  const after = `After ${formatDurationMs(Math.max(0, event.atMs - operation.admittedAtMs))}`;
  const effect = event.body['effect'] as Effect | undefined;
  const away = event.outageId === null ? '' : ` during outage ${event.outageId}`;
  switch (event.kind) {
    case 'attempt_started':
      return [`${after} attempt ${String(event.body['attempt'])} started${away}.`];
    case 'effect_begun':
      return [
        `${after} attempt ${effect?.attempt} began effect ${effect?.name}${effect?.leaseEpoch ? ` with fencing token ${effect.leaseEpoch}` : ''}${away}.`,
      ];
    case 'effect_refused': {
      const refusal = event.body['refusal'] as { effect?: string; message?: string } | undefined;
      return [
        `${after} effect ${refusal?.effect} did not begin${away}: control was asked again, and ${refusal?.message}.`,
      ];
    }
    case 'effect_settled':
      return [`${after} effect ${effect?.name} was reported as ${effect?.state}${away}.`];
    case 'worker_lost':
      return [
        `${after} the worker missed its heartbeats; the rule says onWorkerLoss: ${operation.onWorkerLoss}.`,
      ];
    case 'paused':
      return [
        event.body['reason'] === 'authority_revoked'
          ? `${after} it was paused, because control withdrew the authority of this host.`
          : `${after} it was paused, because control was lost${away}.`,
      ];
    case 'resumed':
      return [
        event.body['reason'] === 'authority_regained'
          ? `${after} it was released, because control gave authority again.`
          : `${after} it was released, because control was back${byWhom(event)}.`,
      ];
    default:
      return approvalStory(event, after);
  }
}

function explainEnd(operation: StoredOperation): string {
  const why = operation.reason === null ? '' : ` (${operation.reason})`;
  const known =
    operation.outcome === null ? '' : `; the outcome is ${operation.outcome.provenance}`;
  switch (operation.state) {
    case 'awaiting_approval':
      return waitsFor(operation);
    case 'accepted':
      return 'It waits for an attempt.';
    case 'executing':
      return `Attempt ${operation.attempt} is executing.`;
    case 'paused':
      return `It is paused${why}.`;
    case 'unknown':
      return `Its outcome is not known${why}.${explainTries(operation)} Find out, then: holdfast op resolve ${operation.operationId} --outcome succeeded|failed --reason "..."`;
    default:
      return `It ended as ${operation.state}${why}${known}.`;
  }
}

function waitsFor({ approval, reason }: StoredOperation): string {
  const away = reason === 'control_lost' ? ' Control is out of reach: nobody can give it now.' : '';
  return `It waits for ${approval?.required} of role:${approval?.role}: holdfast approval show ${approval?.requestId}.${away}`;
}

/** Where a person released it. */
function byWhom({ body }: JournalEvent): string {
  const { by, why } = (body['resume'] ?? {}) as { by?: string; why?: string };
  return by === undefined ? '' : `, by ${by}: ${why}`;
}

function explainTries(operation: StoredOperation): string {
  const { strategy, tries, leftToPerson } = reconciliationOf(operation);
  if (leftToPerson !== null)
    return ` Its rule tries nothing more (${leftToPerson}, after ${tries} tries).`;
  if (strategy === 'human') return '';
  return ` Its rule says ${strategy}: ${tries} tries so far.`;
}
