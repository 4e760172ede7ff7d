/**
 * The shell around approvals: what control says about one is judged here under the authority of the
 * moment, and applied by the writer, on the record as it is in its transaction.
 *
 * I1  what control says is on disk before anything is done about it, as control signed it;
 * I4  a rule of class `fresh` is decided by control when its approval is used, too.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Random } from '../../shared/platform/random.ts';
import { makeId } from '../../shared/core/ids.ts';
import type { ApprovalStatement } from '../../shared/wire/approval.ts';
import type {
  FreshAuthority,
  NoticeAuthority,
  PolicyAuthority,
} from '../authority/authority-view.ts';
import { planAdmission, planFromControl, type Plan } from '../core/admission.ts';
import { useOf, waitIsOver, type ApprovalUse } from '../core/approval-use.ts';
import { decisionInputOf } from '../core/decision-input.ts';
import { noticedOperation } from '../core/noticed-request.ts';
import { problemOfWord } from '../core/operation-approval.ts';
import type { LifecycleEvent, StoredOperation } from '../core/operation-record.ts';
import type { Journal } from '../journal/journal.ts';
import type { WordOutcome } from '../upstream/approval-inbox.ts';
import type { Executions } from './executions.ts';

type Parts = {
  readonly journal: Journal;
  readonly executions: Pick<Executions, 'apply'>;
  readonly policy: Pick<PolicyAuthority, 'activePolicy' | 'revoked' | 'stalenessMs'>;
  readonly notices: NoticeAuthority;
  readonly fresh: FreshAuthority;
  readonly clock: Clock;
  readonly random: Random;
};

export function approvalRequestId(wallMs: number, random: Random): string {
  return makeId('apr', wallMs, random.bytes(16));
}

export class Approvals {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** `word` is verified and meant for this host. */
  async receive(word: ApprovalStatement, statement: string): Promise<WordOutcome> {
    const { journal, executions } = this.#parts;
    const operation = journal.operation(word.operationId);
    if (operation === null) return 'operation_unknown';
    const problem = problemOfWord(operation, word);
    if (problem !== null) return problem;
    if (word.sequence <= (operation.approval?.sequence ?? 0)) return 'replayed';
    const isWaiting = operation.state === 'awaiting_approval';
    const isUse = isWaiting && word.outcome === 'approved';
    const use = isUse ? await this.#use(operation, word) : null;
    if (isUse && use === null && !waitIsOver(operation, this.#parts.clock.now())) return 'not_now';
    const event: LifecycleEvent = { kind: 'settle_approval', word, statement, use };
    const { changed, replayed } = await executions.apply(operation.operationId, null, event);
    if (replayed) return 'replayed';
    return changed ? 'applied' : 'too_late';
  }

  async #use(operation: StoredOperation, word: ApprovalStatement): Promise<ApprovalUse | null> {
    const plan = await this.#plan(operation);
    if (plan === null) return null;
    const { clock, random } = this.#parts;
    const now = clock.now();
    const requestId = approvalRequestId(now.wallMs, random);
    return useOf(plan, word, { operation, requestId, now });
  }

  async #plan(operation: StoredOperation): Promise<Exclude<Plan, { kind: 'ask_control' }> | null> {
    const { policy, fresh, clock } = this.#parts;
    const now = clock.now();
    const input = decisionInputOf(operation);
    const active = policy.activePolicy();
    const plan = planAdmission(
      {
        policy: active,
        revoked: policy.revoked(),
        stalenessMs: policy.stalenessMs(now),
        now,
        noticed: this.#parts.notices.against(noticedOperation(operation)),
      },
      input,
    );
    if (plan.kind !== 'ask_control') return plan;
    const answer = await fresh.decide(input);
    if (!answer.ok) return null;
    const { decision, policyRevision, stalenessMs } = answer;
    return planFromControl(decision, { policyRevision, stalenessMs, endsBootMs: now.bootMs });
  }
}
