/**
 * Control's words about approvals, as they come with the answers to syncs: verified here, one by one,
 * before anybody acts on them.
 *
 * B1  A word counts only when control signed it, for this host at its present epoch. Each reason
 *     against one is counted under its own name.
 * B2  Control says each again with every sync until the host has reported what it made of it. So one
 *     that cannot be acted upon now is simply dropped; no sync waits for what it brings.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import type { VerifyReason } from '../../shared/platform/signatures.ts';
import { ApprovalStatementSchema, type ApprovalStatement } from '../../shared/wire/approval.ts';
import { STATEMENT_TYPES } from '../../shared/wire/statements.ts';
import type { EnrolledHost, HostIdentity } from '../authority/identity.ts';
import type { WordProblem } from '../core/operation-approval.ts';
import type { UpstreamMetrics } from './upstream-metrics.ts';
import { Wakeup } from './wakeup.ts';

const IDLE_MS = 60_000;

/** What became of one word. */
export type WordOutcome =
  | VerifyReason
  | WordProblem
  | 'foreign_control'
  | 'foreign_host'
  | 'host_epoch_stale'
  | 'operation_unknown'
  /** The operation has ended meanwhile, or gone on: the word changed nothing. */
  | 'too_late'
  | 'replayed'
  /** It cannot be decided at this moment whether it may be used. */
  | 'not_now'
  | 'applied';

export type WordTaker = (word: ApprovalStatement, statement: string) => Promise<WordOutcome>;

type Parts = {
  readonly identity: Pick<HostIdentity, 'enrolled' | 'verifier'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
};

/** What says that nobody was wrong. */
const USUAL: ReadonlySet<WordOutcome> = new Set(['applied', 'replayed', 'too_late', 'not_now']);

export class ApprovalInbox {
  readonly #parts: Parts;
  readonly #wakeup = new Wakeup();
  #waiting: readonly string[] = [];
  #isServed = true;
  #hasHeard = false;
  #take: WordTaker = () => Promise.resolve('not_now');

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  useTaker(take: WordTaker): void {
    this.#take = take;
  }

  /** Whether control can give approvals; assumed until it has answered. */
  isServed(): boolean {
    return this.#isServed;
  }

  /** Whether control has said so: what an older one does not know must not be sent to it. */
  isKnownToBeServed(): boolean {
    return this.#hasHeard && this.#isServed;
  }

  /** `undefined`: control knows no approvals. */
  noteAnswer(statements: readonly string[] | undefined): void {
    this.#isServed = statements !== undefined;
    this.#hasHeard = true;
    if (statements === undefined || statements.length === 0) return;
    this.#waiting = statements;
    this.#wakeup.wake();
  }

  readonly task: Task = {
    name: 'approvals',
    run: async (signal) => {
      while (!signal.aborted) {
        const statements = this.#waiting;
        this.#waiting = [];
        for (const statement of statements) {
          if (signal.aborted) return;
          await this.take(statement);
        }
        if (this.#waiting.length === 0) await this.#wakeup.wait(this.#parts.clock, IDLE_MS, signal);
      }
    },
  };

  /** B1. */
  async take(statement: string): Promise<WordOutcome> {
    const outcome = await this.#judge(statement);
    const { metrics, logger } = this.#parts;
    metrics.add('holdfast_approval_statements_total', { outcome });
    if (!USUAL.has(outcome))
      logger.error({ outcome }, 'a statement about an approval was refused; nothing came of it');
    return outcome;
  }

  async #judge(statement: string): Promise<WordOutcome> {
    const { identity, logger } = this.#parts;
    const host = identity.enrolled;
    if (host === null) return 'not_now';
    const verified = await identity.verifier.verify(statement, {
      type: STATEMENT_TYPES.approval,
      schema: ApprovalStatementSchema,
    });
    if (!verified.ok) return verified.reason;
    const word = verified.payload;
    const foreign = foreignTo(host, word);
    if (foreign !== null) return foreign;
    try {
      return await this.#take(word, statement);
    } catch (error) {
      // A journal that is busy or has just failed: said again with the next sync.
      const { requestId, operationId } = word;
      logger.warn({ err: error, requestId, operationId }, 'an approval could not be applied now');
      return 'not_now';
    }
  }
}

function foreignTo(host: EnrolledHost, word: ApprovalStatement): WordOutcome | null {
  if (word.controlId !== host.controlId) return 'foreign_control';
  if (word.hostId !== host.hostId) return 'foreign_host';
  return word.hostEpoch === host.hostEpoch ? null : 'host_epoch_stale';
}
