/**
 * What a model and its host are told. Pure.
 *
 * T1  `isError` is false only where the answer is the tool's own, made now or kept on record.
 * T2  Each text says what happened, what did not, and what to do; `_meta["holdfast/outcome"]` says
 *     the same for programs.
 * T3  Unknown is called unknown, never failed, and never asks for another call.
 */
import type { Operation } from '../../../shared/client/index.ts';
import { assertNever } from '../../../shared/core/assert.ts';
import { formatDurationMs } from '../../../shared/core/time.ts';
import { firstText, readKeptAnswer, type ToolAnswer } from './tool-answer.ts';

export const OUTCOME_META = 'holdfast/outcome';
export const RESULT_TOOL = 'holdfast_result';

export type ToldStatus =
  | 'succeeded'
  | 'tool_error'
  | 'refused'
  | 'invalid'
  | 'pending_approval'
  | 'in_progress'
  | 'not_begun'
  | 'failed'
  | 'cancelled'
  | 'expired'
  | 'unknown'
  | 'unreachable';

export type ToldOutcome = {
  readonly status: ToldStatus;
  readonly operationId: string | null;
  /** The tool was not called for this answer. */
  readonly replayed: boolean;
  readonly code?: string;
  readonly approvalRequestId?: string;
};

const SAME_CALL = 'Make the same call again';

function told(outcome: ToldOutcome, text: string): ToolAnswer {
  return { content: [{ type: 'text', text }], isError: true, _meta: { [OUTCOME_META]: outcome } };
}

export const toldInvalid = (detail: string): ToolAnswer =>
  told({ status: 'invalid', operationId: null, replayed: false }, `Not called: ${detail}.`);

export function toldRefused(refusal: {
  readonly code: string;
  readonly detail: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | null;
  readonly operationId?: string;
}): ToolAnswer {
  const { code, detail, retryable, retryAfterMs, operationId = null } = refusal;
  const later = retryAfterMs === null ? 'later' : `in ${formatDurationMs(Math.ceil(retryAfterMs))}`;
  const next = retryable
    ? `That can change: ${SAME_CALL.toLowerCase()} ${later}.`
    : 'The same call will be refused again: change it, or ask a person.';
  return told(
    { status: 'refused', operationId, replayed: false, code },
    `Refused, and the tool was not called by this: ${sentence(detail)} (${code}) ${next}`,
  );
}

/** Nobody answers at the sidecar: what this call has done is known, what is on record is not. */
export function toldUnreachable(
  detail: string,
  { operationId, isCalled }: { readonly operationId: string | null; readonly isCalled: boolean },
): ToolAnswer {
  const did = isCalled
    ? 'The tool was called, and what came of it could not be put on record. Do not take it for undone.'
    : 'This call did not reach the tool.';
  return told(
    { status: isCalled ? 'unknown' : 'unreachable', operationId, replayed: false },
    `The sidecar of this host does not answer. ${did} ${SAME_CALL} when it is back: ` +
      `what is on record is found, and nothing is done twice. (${detail})`,
  );
}

/** It answered, and its answer may not be on record: both are said. */
export function toldUnrecorded(
  answer: ToolAnswer,
  { operationId, detail }: { readonly operationId: string; readonly detail: string },
): ToolAnswer {
  const text =
    `The tool was called once and answered as above, but whether that is on record is not known (${detail}): ` +
    `operation ${operationId} may be told as unknown later. Do not call it in another way to be sure.`;
  const outcome: ToldOutcome = { status: 'unknown', operationId, replayed: false };
  return {
    content: [...answer.content, { type: 'text', text }],
    isError: true,
    _meta: { ...answer._meta, [OUTCOME_META]: outcome },
  };
}

export function toldNotBegun(
  { operationId, deadlineAtMs }: Operation,
  detail: string,
  nowMs: number,
): ToolAnswer {
  const left = formatDurationMs(Math.max(0, Math.ceil((deadlineAtMs - nowMs) / 1_000) * 1_000));
  return told(
    { status: 'not_begun', operationId, replayed: false },
    `Accepted, and not begun: the tool's server cannot be reached (${detail}). Nothing was called. ` +
      `${SAME_CALL} to try it; after ${left} it expires as operation ${operationId}.`,
  );
}

export const isToolError = (answer: ToolAnswer): boolean => answer.isError === true;

/** T1: made now, and on record. */
export function toldAnswer(answer: ToolAnswer, operationId: string): ToolAnswer {
  const status = isToolError(answer) ? 'tool_error' : 'succeeded';
  const outcome: ToldOutcome = { status, operationId, replayed: false };
  return { ...answer, _meta: { ...answer._meta, [OUTCOME_META]: outcome } };
}

/** From the record alone. */
export function toldRecord(operation: Operation, effect: string): ToolAnswer {
  const { operationId, state, reason } = operation;
  const because = reason === null ? '' : ` (${reason})`;
  const outcome = (status: ToldStatus): ToldOutcome => ({ status, operationId, replayed: true });
  // The call has its answer on record, whatever became of the operation around it.
  if (hasAnswer(operation, effect)) return toldSettled(operation, effect);
  switch (state) {
    case 'awaiting_approval':
      return toldPending(operation);
    case 'accepted':
      return told(
        outcome('in_progress'),
        `Operation ${operationId} is accepted and has not been done yet. ${SAME_CALL} to have it done.`,
      );
    case 'executing':
    case 'paused':
      return told(
        outcome('in_progress'),
        `Operation ${operationId} is ${state}${because}: its outcome is not known yet. ` +
          `Ask ${RESULT_TOOL} with this operationId, or ${SAME_CALL.toLowerCase()}; it is not done twice.`,
      );
    case 'succeeded':
    case 'failed':
      return toldSettled(operation, effect);
    case 'cancelled':
      return told(
        outcome('cancelled'),
        `Cancelled${because}: operation ${operationId}. ${approvalWords(operation)}`,
      );
    case 'expired':
      return told(
        outcome('expired'),
        `Expired${because}: operation ${operationId} was not done in its time. ${approvalWords(operation)}`,
      );
    case 'unknown':
      return told(
        outcome('unknown'),
        `Unknown${because}: the tool may or may not have done it, and nobody knows yet. It is not called again. ` +
          `Do not repeat it in another way: operation ${operationId} waits for a probe or a person ` +
          `(holdfast reconcile list). ${SAME_CALL} later to hear what was found.`,
      );
    default:
      return assertNever(state);
  }
}

function toldPending({ operationId, approval, action }: Operation): ToolAnswer {
  const outcome: ToldOutcome = {
    status: 'pending_approval',
    operationId,
    replayed: false,
    ...(approval === undefined ? {} : { approvalRequestId: approval.requestId }),
  };
  const votes = approval?.votes.filter(({ verdict }) => verdict === 'approve').length ?? 0;
  const of =
    approval === undefined
      ? ''
      : ` It has ${votes} of ${approval.required} from ${approval.role} (request ${approval.requestId}).`;
  return told(
    outcome,
    `Not called yet: ${action} needs an approval.${of} Ask ${RESULT_TOOL} with operationId ` +
      `${operationId}, or ${SAME_CALL.toLowerCase()} later: it is done once it is approved, and only once.`,
  );
}

const hasAnswer = ({ effects }: Operation, effect: string): boolean =>
  effects.some(
    ({ name, state, result }) =>
      name === effect && state === 'succeeded' && readKeptAnswer(result) !== null,
  );

/** It has ended with the word of the tool, or with a word about it. */
function toldSettled(operation: Operation, effect: string): ToolAnswer {
  const { operationId, state, reason, outcome, effects, settledAtMs } = operation;
  const done = effects.find(({ name }) => name === effect);
  const kept = done?.state === 'succeeded' ? readKeptAnswer(done.result) : null;
  const atMs = done?.settledAtMs ?? settledAtMs;
  const when = atMs === null ? '' : ` at ${new Date(atMs).toISOString()}`;
  if (kept === null) {
    const status = state === 'succeeded' ? 'succeeded' : 'failed';
    const how = outcome?.provenance === undefined ? '' : ` It is known as ${outcome.provenance}.`;
    return told(
      { status, operationId, replayed: true },
      status === 'succeeded'
        ? `It was done${when}, and the tool's own answer is not on record.${how} Operation ${operationId}.`
        : `It failed${when}: ${sentence(reason ?? 'no reason is given')}${how} Operation ${operationId}; it is not called again.`,
    );
  }
  if ('answerOmitted' in kept) {
    const { bytes, isError, sha256 } = kept.answerOmitted;
    return told(
      { status: isError ? 'tool_error' : 'succeeded', operationId, replayed: true },
      `The tool was called once${when} and answered ${isError ? 'with an error' : 'without error'}. ` +
        `Its answer had ${bytes} bytes (SHA-256 ${sha256}), too many to be kept, so it cannot be shown again. ` +
        `It was not called again: operation ${operationId}.`,
    );
  }
  const { answer } = kept;
  const status = isToolError(answer) ? 'tool_error' : 'succeeded';
  const note =
    `[This is the answer to the same call, made${when}. The tool was not called again. ` +
    `Operation ${operationId} is ${state}.]`;
  return {
    ...answer,
    content: [...answer.content, { type: 'text', text: note }],
    _meta: { ...answer._meta, [OUTCOME_META]: { status, operationId, replayed: true } },
  };
}

function approvalWords({ approval }: Operation): string {
  if (approval === undefined) return 'Nothing was called after that.';
  const { state, reason } = approval;
  const why = reason === null ? '' : `: ${reason}`;
  return `The approval was ${state}${why}. The same call stays ended: it is not asked for again.`;
}

/** What a run fails with where the tool has answered with an error. */
export class ToolErrorAnswer extends Error {
  override name = 'ToolErrorAnswer';

  constructor(answer: ToolAnswer) {
    super(`the tool answered with an error: ${firstText(answer)}`);
  }
}

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
