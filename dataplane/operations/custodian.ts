/**
 * Sees to it that accepted work ends (I8): deadlines that pass, workers that vanish, control that
 * is lost and comes back. It only proposes; the writer decides on the record. Each round is
 * bounded, so that a backlog is worked off at a rate and is no second outage.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type {
  NoticeAuthority,
  OutageAuthority,
  PolicyAuthority,
} from '../authority/authority-view.ts';
import type { LifecycleEvent } from '../core/operation-record.ts';
import { FIRST_DEADLINE, type DeadlineCursor } from '../journal/journal-reader.ts';
import type { Journal } from '../journal/journal.ts';
import { ApprovalWatch } from './approval-watch.ts';
import type { Applied, Executions } from './executions.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { Resume } from './resume.ts';

const ROUND_INTERVAL_MS = 250;
const ROUND_OPERATIONS_MAX = 200;

export type CustodianParts = {
  readonly journal: Journal;
  readonly executions: Executions;
  readonly heartbeats: Heartbeats;
  readonly resume: Pick<Resume, 'round' | 'lost'>;
  readonly outages: OutageAuthority;
  readonly policy: Pick<PolicyAuthority, 'revoked'>;
  readonly notices: NoticeAuthority;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * How long control must be out of reach before `onControlLoss` takes hold: a blip stops no work.
   */
  readonly controlLossAfterMs: number;
};

export class Custodian {
  readonly #parts: CustodianParts;
  /** Wall time as it would be had the wall clock not been set back since start. */
  readonly #started;
  #deadlinesSeen: DeadlineCursor = FIRST_DEADLINE;
  #revokedSeenSeq = 0;
  readonly #approvals: ApprovalWatch;
  /** That control wants stopped; it says them again until it has their ends. */
  #toStop: readonly string[] = [];
  #revokedSinceBootMs: number | null = null;
  #noticedSeenSeq = 0;

  constructor(parts: CustodianParts) {
    this.#parts = parts;
    this.#started = parts.clock.now();
    this.#approvals = new ApprovalWatch(parts.journal);
  }

  task(): Task {
    return {
      name: 'custodian',
      run: async (signal) => {
        while (!signal.aborted) {
          await this.round();
          await this.#parts.clock.sleep(ROUND_INTERVAL_MS, signal);
        }
      },
    };
  }

  /** With the next round, as `onRevoke` of each says. */
  stop(operationIds: readonly string[]): void {
    this.#toStop = operationIds.slice(0, ROUND_OPERATIONS_MAX);
  }

  async round(): Promise<void> {
    const { journal, heartbeats, outages, policy, notices, clock } = this.#parts;
    const now = clock.now();
    const steadyWallMs = Math.max(
      now.wallMs,
      this.#started.wallMs + now.bootMs - this.#started.bootMs,
    );
    const proposals: [string, LifecycleEvent][] = [];
    const overdue = journal.reader.overdue({
      after: this.#deadlinesSeen,
      untilMs: steadyWallMs,
      limit: ROUND_OPERATIONS_MAX,
    });
    // Past those that the record itself says are not due: they must not hold up the ones that are.
    const last = overdue.at(-1);
    this.#deadlinesSeen = overdue.length < ROUND_OPERATIONS_MAX || !last ? FIRST_DEADLINE : last;
    for (const { operationId } of overdue) proposals.push([operationId, { kind: 'pass_deadline' }]);
    for (const { operationId, attempt } of heartbeats.missed(now.bootMs, ROUND_OPERATIONS_MAX))
      proposals.push([operationId, { kind: 'lose_worker', attempt }]);
    for (const operationId of this.#toStop)
      proposals.push([operationId, { kind: 'revoke_authority' }]);
    this.#toStop = [];
    const outOfReachMs = outages.outOfReachMs(now);
    if (policy.revoked() !== null) {
      for (const operationId of this.#underRevokedAuthority())
        proposals.push([operationId, { kind: 'revoke_authority' }]);
    } else if (outOfReachMs !== null && outOfReachMs >= this.#parts.controlLossAfterMs) {
      for (const operationId of journal.reader.stoppedByControlLoss(ROUND_OPERATIONS_MAX))
        proposals.push([operationId, { kind: 'lose_control' }]);
    }
    if (!notices.isEmpty)
      for (const [operationId, because] of this.#underNotices())
        proposals.push([operationId, { kind: 'revoke_authority', because }]);
    const isControlLost = (outOfReachMs ?? 0) >= this.#parts.controlLossAfterMs;
    const isInReach = outOfReachMs === null;
    proposals.push(...this.#approvals.proposals({ now, isControlLost, isInReach }));
    await Promise.all(proposals.map(([operationId, event]) => this.#propose(operationId, event)));
    await this.#resumePaused(now.bootMs, outOfReachMs);
  }

  async #resumePaused(bootMs: number, outOfReachMs: number | null): Promise<void> {
    const { resume, policy } = this.#parts;
    const revoked = policy.revoked();
    if (revoked === null) this.#revokedSinceBootMs = null;
    else this.#revokedSinceBootMs ??= bootMs;
    if (revoked !== null)
      resume.lost(this.#revokedSinceBootMs ?? bootMs, `authority is withdrawn: ${revoked.reason}`);
    else if (outOfReachMs !== null) resume.lost(bootMs - outOfReachMs);
    else await resume.round();
  }

  /** The next of what has not ended: what is to finish all the same must not hold up the rest. */
  #underRevokedAuthority(): string[] {
    const rows = this.#parts.journal.reader.unendedAfter(
      this.#revokedSeenSeq,
      ROUND_OPERATIONS_MAX,
    );
    this.#revokedSeenSeq = rows.length < ROUND_OPERATIONS_MAX ? 0 : (rows.at(-1)?.seq ?? 0);
    return rows
      .filter(({ operation }) => operation.onRevoke !== 'finish')
      .map(({ operation }) => operation.operationId);
  }

  /** As `#underRevokedAuthority`, of those that a notice speaks against. */
  #underNotices(): [string, string][] {
    const { journal, executions } = this.#parts;
    const rows = journal.reader.unendedAfter(this.#noticedSeenSeq, ROUND_OPERATIONS_MAX);
    this.#noticedSeenSeq = rows.length < ROUND_OPERATIONS_MAX ? 0 : (rows.at(-1)?.seq ?? 0);
    return rows.flatMap(({ operation }): [string, string][] => {
      const noticed = executions.revokedBy(operation);
      return noticed === null ? [] : [[operation.operationId, noticed.code]];
    });
  }

  async #propose(operationId: string, event: LifecycleEvent): Promise<void> {
    let applied: Applied;
    try {
      applied = await this.#parts.executions.apply(operationId, null, event);
    } catch (error) {
      // A full queue, or a record that went another way meanwhile: the next round looks again.
      if (error instanceof HoldfastError && error.code !== 'outcome_unknown') return;
      throw error;
    }
    if (!applied.changed) return;
    const { state, reason, attempt } = applied.operation;
    this.#parts.logger.info(
      { operationId, event: event.kind, state, reason, attempt },
      'operation moved by the custodian',
    );
  }
}
