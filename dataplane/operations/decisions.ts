/**
 * `POST /v1/decisions`: what would happen to an operation if it were asked for now. The journal has
 * nothing of it; the log has a line for each, at most `LINES_PER_SECOND`, and says how many it left
 * out.
 */
import { explainDecision } from '../../shared/core/decision-trace.ts';
import type { Decision, LimitTerms } from '../../shared/core/policy.ts';
import { SECOND_MS } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { DecisionAnswer } from '../../shared/wire/decision.ts';
import type { DecisionTrace } from '../../shared/wire/decision-trace.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import { ERRORS, HoldfastError, type ErrorCode } from '../../shared/wire/problem.ts';
import type {
  FreshAuthority,
  LeaseAuthority,
  NoticeAuthority,
  PolicyAuthority,
} from '../authority/authority-view.ts';
import { noticedRequest } from '../core/noticed-request.ts';
import { planAdmission, planFromControl, type Plan } from '../core/admission.ts';
import { previewAdmission, type LimitsNow, type Preview } from '../core/decision-preview.ts';

const LINES_PER_SECOND = 20;
const RETRY_MS = 1_000;

/** Looks at the limits of a rule and spends nothing. */
export type LimitsView = {
  preview(rule: string, limits: LimitTerms, input: DecisionInput): LimitsNow;
};

export type DecisionsParts = {
  readonly policy: PolicyAuthority;
  readonly notices: NoticeAuthority;
  readonly leases: LeaseAuthority;
  readonly fresh: FreshAuthority;
  readonly limits: LimitsView;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onDecision: (fact: { decision: string; reason: string; basis: string }) => void;
};

type Settled = {
  readonly plan: Exclude<Plan, { kind: 'ask_control' }>;
  readonly decision: Decision;
  readonly policyRevision: number;
};

export class Decisions {
  readonly #parts: DecisionsParts;
  #secondStartedMs = 0;
  #linesLeft = LINES_PER_SECOND;
  #leftOut = 0;

  constructor(parts: DecisionsParts) {
    this.#parts = parts;
  }

  /** Throws `policy_absent`, `control_rejected`, or `control_unreachable` where control must decide. */
  async decide(app: string, input: DecisionInput, isExplained: boolean): Promise<DecisionAnswer> {
    const { policy, notices, leases, limits, clock, onDecision } = this.#parts;
    const now = clock.now();
    // One revision for all of it, whatever comes into force meanwhile.
    const active = policy.activePolicy();
    const stalenessMs = policy.stalenessMs(now);
    const noticed = notices.against(noticedRequest(app, input));
    const authority = { policy: active, revoked: policy.revoked(), stalenessMs, now, noticed };
    const plan = planAdmission(authority, input);
    const isBarred = active === null || authority.revoked !== null || noticed !== null;
    if (plan.kind === 'refused' && isBarred) throw failure(plan.code, plan.detail);
    if (active === null) throw failure('policy_absent', 'this host has never received a policy');
    const local = explainDecision(active.compiled, input);
    const settled: Settled =
      plan.kind === 'ask_control'
        ? await this.#askControl(plan.rule, input)
        : { plan, decision: local.decision, policyRevision: active.policyRevision };
    const { decision, policyRevision } = settled;
    const { leaseResource, terms } = decision;
    const lease = leaseResource === null ? undefined : leases.lease(leaseResource);
    const limited = terms?.limits ?? null;
    const limitsNow = limited === null ? null : limits.preview(decision.rule ?? '', limited, input);
    const at = { ...settled, lease, limits: limitsNow, now: clock.now() };
    const { refusal, ...preview } = previewAdmission(input, at);
    const admission = admissionOf(refusal, terms);
    const explained = isExplained
      ? traceOf(local.trace, { own: active.policyRevision, decidedUnder: policyRevision })
      : { trace: null, traceMissing: null };
    const { terms: _, ...said } = decision;
    const answer = {
      ...said,
      policyRevision,
      ...explained,
      ...preview,
      admission,
      terms: termsShown(terms),
    };
    onDecision({ decision: answer.decision, reason: answer.reason, basis: answer.basis });
    this.#log(app, input, answer);
    return answer;
  }

  /** D2. */
  async #askControl(rule: string, input: DecisionInput): Promise<Settled> {
    const answer = await this.#parts.fresh.decide(input);
    if (!answer.ok)
      throw failure(answer.reason, `rule ${rule} needs fresh authority: ${answer.detail}`);
    const { decision, policyRevision, stalenessMs } = answer;
    // It is not admitted under it, so until when it holds does not matter.
    const plan = planFromControl(decision, { policyRevision, stalenessMs, endsBootMs: 0 });
    return { plan, decision, policyRevision };
  }

  #log(app: string, input: DecisionInput, answer: DecisionAnswer): void {
    const nowMs = this.#parts.clock.now().bootMs;
    if (nowMs - this.#secondStartedMs >= SECOND_MS) {
      this.#secondStartedMs = nowMs;
      this.#linesLeft = LINES_PER_SECOND;
    }
    if (this.#linesLeft === 0) {
      this.#leftOut += 1;
      return;
    }
    this.#linesLeft -= 1;
    const { principal, action, resource } = input;
    const { decision, reason, rule, policyRevision, basis, stalenessMs, admission } = answer;
    const facts = {
      app,
      principal,
      action,
      resourceId: resource?.id ?? '',
      decision,
      reason,
      rule,
    };
    const rest = { policyRevision, basis, stalenessMs, admission: admission.code ?? 'admitted' };
    const leftOut = this.#leftOut === 0 ? {} : { leftOut: this.#leftOut };
    this.#leftOut = 0;
    this.#parts.logger.info({ ...facts, ...rest, ...leftOut }, 'decision asked for');
  }
}

function traceOf(
  trace: DecisionTrace,
  revision: { readonly own: number; readonly decidedUnder: number },
): Pick<DecisionAnswer, 'trace' | 'traceMissing'> {
  if (revision.own === revision.decidedUnder) return { trace, traceMissing: null };
  return {
    trace: null,
    traceMissing: `control decided under revision ${revision.decidedUnder}, and ${revision.own} is in force here: ask control (holdfast policy decide --from control)`,
  };
}

function admissionOf(
  refusal: Preview['refusal'],
  terms: Decision['terms'],
): DecisionAnswer['admission'] {
  if (refusal !== null)
    return { outcome: 'refused', ...refusal, retryable: ERRORS[refusal.code].retryable };
  const at = { code: null, detail: '', retryable: false };
  const approval = terms?.approval ?? null;
  if (approval === null) return { outcome: 'admitted', ...at };
  const detail = `it would wait for ${approval.required} of role:${approval.role}`;
  return { outcome: 'awaiting_approval', ...at, detail };
}

function termsShown(terms: Decision['terms']): Readonly<Record<string, unknown>> | null {
  return terms === null ? null : { ...terms };
}

function failure(code: ErrorCode, detail: string): HoldfastError {
  return new HoldfastError(
    code,
    detail,
    ERRORS[code].retryable ? { retry_after_ms: RETRY_MS } : {},
  );
}
