/**
 * What this sidecar says of itself with each sync, so that control sees how a revision does where it
 * is tried: labels, which process this is, and what was decided under which revision.
 */
import type { HostHealth } from '../../shared/wire/fleet-health.ts';
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
  #readHealth: (() => HostHealth) | null = null;
  #isHealthAsked = false;

  constructor({ labels, processId }: { labels: Labels; processId: string }) {
    this.labels = labels;
    this.processId = processId;
  }

  /** From where `health` is read, once there is work to tell of. */
  useHealth(read: () => HostHealth): void {
    this.#readHealth = read;
  }

  /** An older control does not ask, and would refuse a sync with it. */
  healthAsked(isAsked: boolean): void {
    this.#isHealthAsked = isAsked;
  }

  /** A sync must not fail for it: what cannot be read is not said, and control knows nothing then. */
  health(): HostHealth | null {
    if (!this.#isHealthAsked) return null;
    try {
      return this.#readHealth?.() ?? null;
    } catch {
      return null;
    }
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
