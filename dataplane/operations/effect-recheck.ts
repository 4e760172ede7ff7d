/**
 * `recheck: commit`: control is asked once more just before an effect (promise I4, O7).
 *
 * X1  It is asked only about an effect that would begin: one that is refused or replayed anyway costs
 *     control nothing, and the record says what it says with control away.
 * X2  Whatever is not a permit of control for this very request, in time, begins nothing. It is
 *     recorded in the operation before the caller is told.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import { ERRORS, HoldfastError } from '../../shared/wire/problem.ts';
import type { FreshAuthority } from '../authority/authority-view.ts';
import { decisionInputOf } from '../core/decision-input.ts';
import { applyLifecycleEvent } from '../core/operation-lifecycle.ts';
import type {
  EffectRefusal,
  LifecycleEvent,
  RecheckProof,
  StoredOperation,
} from '../core/operation-record.ts';

/** How long control's answer holds for the one effect that it was asked for. */
const PERMIT_MS = 5_000;
const RETRY_MS = 1_000;

type Asked = Omit<LifecycleEvent & { kind: 'begin_effect' }, 'recheck'>;

export type Rechecked =
  | { readonly kind: 'not_needed' }
  | { readonly kind: 'permitted'; readonly proof: RecheckProof }
  | { readonly kind: 'refused'; readonly refusal: EffectRefusal };

export class EffectRecheck {
  readonly #fresh: FreshAuthority;
  readonly #clock: Clock;

  constructor(parts: { fresh: FreshAuthority; clock: Clock }) {
    this.#fresh = parts.fresh;
    this.#clock = parts.clock;
  }

  async ask(operation: StoredOperation, asked: Asked): Promise<Rechecked> {
    if (operation.recheck === null || !this.#wouldBegin(operation, asked))
      return { kind: 'not_needed' };
    const answer = await this.#fresh.decide(decisionInputOf(operation));
    if (!answer.ok) {
      const { reason: code, detail: message } = answer;
      return { kind: 'refused', refusal: { code, message, policyRevision: null, rule: null } };
    }
    const { decision, policyRevision, stalenessMs, decidedAtMs } = answer;
    if (decision.decision === 'permit') {
      const endsBootMs = this.#clock.now().bootMs + PERMIT_MS - stalenessMs;
      const at = decidedAtMs === undefined ? {} : { decidedAtMs };
      return { kind: 'permitted', proof: { policyRevision, stalenessMs, endsBootMs, ...at } };
    }
    const { rule, reason, message } = decision;
    const refusal = {
      code: 'recheck_refused',
      message: `${reason}: ${message}`,
      policyRevision,
      rule,
    };
    return { kind: 'refused', refusal: { ...refusal, code: 'recheck_refused' } };
  }

  /** X1: as the writer would decide on the record as it is now, had control said yes. */
  #wouldBegin(operation: StoredOperation, asked: Asked): boolean {
    const now = this.#clock.now();
    const recheck = { policyRevision: 0, stalenessMs: 0, endsBootMs: now.bootMs };
    const result = applyLifecycleEvent(operation, { ...asked, recheck }, now);
    return result.ok && result.note !== null;
  }
}

export function refusedEffect(
  { operationId, rule }: StoredOperation,
  effect: string,
  refusal: EffectRefusal,
): HoldfastError {
  const { code, message, policyRevision } = refusal;
  const detail = `effect ${effect} did not begin: its rule ${rule} has control asked again, and ${message}`;
  const retry = ERRORS[code].retryable ? { retry_after_ms: RETRY_MS } : {};
  return new HoldfastError(code, detail, {
    operationId,
    policyRevision,
    rule: refusal.rule,
    ...retry,
  });
}
