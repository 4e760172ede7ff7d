/**
 * A decision as it can be made again, from the entry of a host's journal.
 *
 * D1  Of refusals only those count that a policy made: an expired authority, a lease or a limit that
 *     was not there, a full disk say nothing about what a policy would have said.
 */
import { DECISION_REASONS } from '../../shared/core/policy.ts';
import type { RecordedDecision } from './divergence.ts';
import type { DecisionMoment } from './decision-instant.ts';
import { admittedInput, refusedInput } from './replay-input.ts';
import type { HostClock } from './sync-anchors.ts';

type Body = Readonly<Record<string, unknown>>;

export type DecisionEntry = {
  readonly kind: 'admitted' | 'refused';
  readonly hostId: string;
  readonly seq: number;
  /** As the wall clock of the host had it. */
  readonly atMs: number;
  readonly body: Body;
};

export type ReportedDecision =
  | {
      readonly kind: 'decided';
      readonly recorded: RecordedDecision;
      readonly moment: DecisionMoment;
    }
  /** It lacks what it was decided on. */
  | { readonly kind: 'not_replayable' }
  /** D1. */
  | { readonly kind: 'not_of_policy' };

const POLICY_REFUSALS: ReadonlySet<unknown> = new Set(
  DECISION_REASONS.filter((reason) => reason !== 'permitted'),
);

export function reportedDecision(entry: DecisionEntry): ReportedDecision {
  return entry.kind === 'admitted' ? ofAdmission(entry) : ofRefusal(entry);
}

function ofAdmission({ body, hostId, seq, atMs }: DecisionEntry): ReportedDecision {
  const input = admittedInput(body);
  const { app, policyRevision, rule, basis, stalenessMs } = body;
  if (input === null || !isCount(policyRevision) || !isCount(stalenessMs)) return NOT_REPLAYABLE;
  return {
    kind: 'decided',
    recorded: {
      decision: 'permit',
      policyRevision,
      reason: 'permitted',
      rule: typeof rule === 'string' ? rule : null,
      message: '',
      basis: basis === 'fresh' ? 'fresh' : 'cached',
      stalenessMs,
      input,
      request: requestOf(hostId, app, input),
    },
    moment: { seq, clock: admissionClock(body, atMs) },
  };
}

function ofRefusal({ body, hostId, seq }: DecisionEntry): ReportedDecision {
  const refusal = body['refusal'];
  if (!isRecord(refusal)) return NOT_REPLAYABLE;
  const { app, policyRevision, reason, rule, message, basis, stalenessMs, atBoot } = refusal;
  // What control itself refused is not made again: it was control's word for this request.
  if (!POLICY_REFUSALS.has(reason) || basis !== 'cached') return { kind: 'not_of_policy' };
  const input = refusedInput(body);
  if (input === null || !isCount(policyRevision)) return NOT_REPLAYABLE;
  return {
    kind: 'decided',
    recorded: {
      decision: 'deny',
      policyRevision,
      reason: String(reason),
      rule: typeof rule === 'string' ? rule : null,
      message: typeof message === 'string' ? message : '',
      basis: 'cached',
      stalenessMs: isCount(stalenessMs) ? stalenessMs : 0,
      input,
      request: requestOf(hostId, app, input),
    },
    moment: { seq, clock: clockOf(atBoot) },
  };
}

const NOT_REPLAYABLE: ReportedDecision = { kind: 'not_replayable' };

/**
 * An admission says its deadline on both clocks of the host, read at one moment: what lies between
 * the admission and the deadline on the one lies between them on the other.
 */
function admissionClock({ deadlineBoot, deadlineAtMs }: Body, atMs: number): HostClock | null {
  const deadline = clockOf(deadlineBoot);
  if (deadline === null || !isCount(deadlineAtMs) || deadlineAtMs < atMs) return null;
  return { bootId: deadline.bootId, bootMs: deadline.bootMs - (deadlineAtMs - atMs) };
}

function clockOf(value: unknown): HostClock | null {
  if (!isRecord(value)) return null;
  const { bootId, bootMs } = value;
  return typeof bootId === 'string' && typeof bootMs === 'number' && Number.isFinite(bootMs)
    ? { bootId, bootMs }
    : null;
}

function requestOf(
  hostId: string,
  app: unknown,
  input: RecordedDecision['input'],
): RecordedDecision['request'] {
  const { principal, action, resource } = input;
  return {
    hostId,
    app: typeof app === 'string' ? app : '',
    principal,
    action,
    resourceId: resource?.id ?? '',
  };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value);

function isRecord(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
