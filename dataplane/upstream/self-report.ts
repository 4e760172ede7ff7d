/**
 * What this sidecar says of itself with each sync, so that control sees how a revision does where it
 * is tried: labels, which process this is, and what was decided under which revision.
 */
import { TALLIES_MAX, type Labels, type Tally } from '../../shared/wire/rollout.ts';

/** Refusals that would have been the same under any revision. */
const NOT_OF_THE_POLICY: ReadonlySet<string> = new Set([
  'policy_absent',
  'policy_expired',
  'control_unreachable',
  'control_rejected',
  'lease_absent',
  'lease_expired',
  'journal_full',
  'journal_busy',
  'journal_quarantined',
  'outcome_unknown',
  'overloaded',
  'shutting_down',
  'internal',
]);

export type DecidedFact = {
  readonly decision: 'admitted' | 'replayed' | 'refused';
  readonly reason: string;
  readonly policyRevision: number | null;
};

export class SelfReport {
  readonly labels: Labels;
  readonly processId: string;
  readonly #tallies = new Map<number, Tally>();

  constructor({ labels, processId }: { labels: Labels; processId: string }) {
    this.labels = labels;
    this.processId = processId;
  }

  note({ decision, reason, policyRevision }: DecidedFact): void {
    if (decision === 'replayed' || policyRevision === null) return;
    if (decision === 'refused' && NOT_OF_THE_POLICY.has(reason)) return;
    const held = this.#tallies.get(policyRevision);
    const { admitted = 0, refused = 0, ruleErrors = 0 } = held ?? {};
    this.#tallies.set(policyRevision, {
      policyRevision,
      admitted: admitted + (decision === 'admitted' ? 1 : 0),
      refused: refused + (decision === 'refused' ? 1 : 0),
      ruleErrors: ruleErrors + (reason === 'rule_error' ? 1 : 0),
    });
    if (held === undefined && this.#tallies.size > TALLIES_MAX) {
      this.#tallies.delete(Math.min(...this.#tallies.keys()));
    }
  }

  tallies(): Tally[] {
    return [...this.#tallies.values()];
  }
}
