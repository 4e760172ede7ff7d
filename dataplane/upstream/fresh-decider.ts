/**
 * Asks control about one request, now (promise I4).
 *
 * F1  One question, one answer, bound by nonce, host and the digest of the input; nothing is cached
 *     and no answer serves twice (L-09: the proof is an answer to a question asked after the
 *     request arrived).
 * F2  It ends within its time-out, and whatever is not a verified answer is a refusal with its
 *     reason.
 * F3  A decision under a revision older than one that was in force here is none: control has lost
 *     its memory.
 */
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import { DECISION_REASONS, type Decision } from '../../shared/core/policy.ts';
import { elapsedMs } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { digestOf } from '../../shared/platform/digest.ts';
import { SPAN_ATTRIBUTES, spanned } from '../../shared/platform/tracing.ts';
import type { OutageCause } from '../../shared/wire/operation.ts';
import { OnUnknownSchema } from '../../shared/wire/reconciliation.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import type { FreshAnswer, FreshAuthority } from '../authority/authority-view.ts';
import type { ControlLink } from './control-link.ts';
import type { UpstreamMetrics } from './upstream-metrics.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

const TermsSchema = Type.Object({
  freshness: Type.Enum(['fresh', 'bounded']),
  maxStalenessMs: Type.Integer({ minimum: 0 }),
  deadlineMs: Type.Integer({ minimum: 0 }),
  maxDeadlineMs: Type.Integer({ minimum: 0 }),
  onControlLoss: Type.Enum(['finish', 'pause', 'abort']),
  onWorkerLoss: Type.Enum(['retry', 'unknown', 'fail']),
  heartbeatTimeoutMs: Type.Integer({ minimum: 0 }),
  onRevoke: Type.Enum(['abort', 'finish', 'pause']),
  // A control of before there were strategies says none.
  onUnknown: Type.Optional(OnUnknownSchema),
  recheck: nullable(Type.Enum(['commit'])),
  approval: nullable(
    Type.Object({
      required: Type.Integer({ minimum: 1 }),
      role: Type.String(),
      ttlMs: Type.Integer({ minimum: 0 }),
      onControlLoss: Type.Enum(['wait', 'fail']),
      showPayload: Type.Boolean(),
    }),
  ),
  ownership: nullable(
    Type.Object({
      lease: Type.String(),
      mode: Type.Enum(['strict', 'fenced']),
      graceMs: Type.Integer({ minimum: 0 }),
    }),
  ),
  effects: Type.Record(
    Type.String(),
    Type.Object({
      idempotent: Type.Boolean(),
      fencing: Type.Enum(['enforced', 'dispatch', 'none']),
    }),
  ),
});

/** `Decision` of `shared/core/policy.ts`, as it comes over the wire. */
const DecisionSchema = Type.Object({
  decision: Type.Enum(['permit', 'deny']),
  reason: Type.Enum([...DECISION_REASONS]),
  rule: nullable(Type.String()),
  message: Type.String(),
  warnings: Type.Array(Type.String()),
  terms: nullable(TermsSchema),
  leaseResource: nullable(Type.String()),
});
const decisionChecker = Compile(DecisionSchema);

export type FreshDeciderOptions = {
  readonly link: ControlLink;
  readonly clock: Clock;
  readonly metrics: UpstreamMetrics;
  readonly timeoutMs: number;
  readonly highWaterRevision: () => number;
  /** Control did not answer: the refusal that follows is to find the outage open. */
  readonly onUnreachable: (failure: { cause: OutageCause; detail: string }) => Promise<void>;
  /** Control answered, whatever it said. */
  readonly onAnswer: () => void;
};

export class FreshDecider implements FreshAuthority {
  readonly #options: FreshDeciderOptions;

  constructor(options: FreshDeciderOptions) {
    this.#options = options;
  }

  decide(input: DecisionInput): Promise<FreshAnswer> {
    const facts = { [SPAN_ATTRIBUTES.action]: input.action };
    return spanned('holdfast.fresh_decision', { facts }, async (tell) => {
      const answer = await this.#ask(input);
      const outcome = answer.ok ? answer.decision.decision : answer.reason;
      this.#options.metrics.add('holdfast_fresh_decisions_total', { outcome });
      tell({ [SPAN_ATTRIBUTES.outcome]: outcome });
      return answer;
    });
  }

  async #ask(input: DecisionInput): Promise<FreshAnswer> {
    const { link, clock, timeoutMs } = this.#options;
    const result = await link.decide(input, timeoutMs);
    if (result.kind === 'refused') {
      return { ok: false, reason: 'control_rejected', detail: `${result.code}: ${result.detail}` };
    }
    if (result.kind === 'unreachable') {
      await this.#options.onUnreachable({ cause: result.cause, detail: result.detail });
      return notKnown(`${result.cause}: ${result.detail}`);
    }
    this.#options.onAnswer();
    const { decision, inputDigest, policyRevision, decidedAtMs } = result.payload;
    if (inputDigest !== digestOf(input))
      return notKnown('bad_answer: control decided another question');
    const highWater = this.#options.highWaterRevision();
    if (policyRevision < highWater) {
      return notKnown(
        `bad_answer: control decided under revision ${policyRevision}, and ${highWater} was in force here`,
      );
    }
    if (!isDecision(decision))
      return notKnown('bad_answer: the decision has a form that is not known here');
    const stalenessMs = elapsedMs(result.sentAt, clock.now());
    if (stalenessMs === null)
      return notKnown('timeout: the clock went back while control was asked');
    const at = decidedAtMs === undefined ? {} : { decidedAtMs };
    return { ok: true, decision, policyRevision, stalenessMs, ...at };
  }
}

/** A permit without terms could not be held to anything. */
function isDecision(value: unknown): value is Decision {
  if (!decisionChecker.Check(value)) return false;
  return value.decision === 'deny' || (value.terms !== null && value.reason === 'permitted');
}

function notKnown(detail: string): FreshAnswer {
  return { ok: false, reason: 'control_unreachable', detail };
}
