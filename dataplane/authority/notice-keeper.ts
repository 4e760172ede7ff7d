/**
 * The notices of this host: the book (`core/notice-book.ts`) and its file.
 *
 * Q1  What begins is obeyed at once, and confirmed to control only when it is on disk and every
 *     admission that was decided before it has been written (I1): none follows the confirmation.
 * Q2  A file that is damaged refuses everything until control has said all of it anew (I5).
 * Q3  Authority counts as confirmed by an answer only when all the notices that it speaks of are here.
 */
import { join } from 'node:path';
import Type from 'typebox';
import type { NoticedRequest } from '../../shared/core/notice-index.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import {
  NoticeEntrySchema,
  NoticesStatementSchema,
  type NoticePosition,
  type NoticesAnswer,
} from '../../shared/wire/notices.ts';
import { STATEMENT_TYPES } from '../../shared/wire/statements.ts';
import { NOTICES_UNKNOWN, NoticeBook, type Noticed } from '../core/notice-book.ts';
import type { UpstreamMetrics } from '../upstream/upstream-metrics.ts';
import type { HostIdentity } from './identity.ts';
import { StateFile } from './state-file.ts';

const { noticeId, kind, subject, reason, sequence } = NoticeEntrySchema.properties;
const FileSchema = Type.Object({
  position: Type.Object({
    sequence: Type.Integer({ minimum: 0 }),
    entryId: Type.Union([Type.String(), Type.Null()]),
  }),
  notices: Type.Array(Type.Object({ noticeId, kind, subject, reason, sequence })),
});

const NOWHERE: NoticePosition = { sequence: 0, entryId: null };

export type NoticeKeeperOptions = {
  readonly directory: string;
  readonly identity: Pick<HostIdentity, 'enrolled' | 'verifier'>;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
  /** Resolves when all that was handed to the journal before is on disk. */
  readonly settled: () => Promise<unknown>;
};

export class NoticeKeeper {
  readonly #options: NoticeKeeperOptions;
  readonly #file: StateFile<typeof FileSchema>;
  #book = new NoticeBook();
  /** Q1: what control is told. */
  #confirmed = NOWHERE;
  #isServed = false;
  #isDamaged = false;

  constructor(options: NoticeKeeperOptions) {
    this.#options = options;
    this.#file = new StateFile(join(options.directory, 'notices.json'), FileSchema);
  }

  open(): void {
    const read = this.#file.read();
    if (read.kind === 'read') {
      this.#book.load(read.value);
      this.#confirmed = this.#book.position;
      this.#isServed = this.#confirmed.sequence > 0;
    } else if (read.kind === 'damaged') {
      this.#isDamaged = true;
      this.#isServed = true;
      this.#options.logger.error(
        { detail: read.detail },
        'the stored notices are damaged; nothing is admitted until control says them anew',
      );
    }
    this.#showGauge();
  }

  get isEmpty(): boolean {
    return !this.#isDamaged && this.#book.notices().length === 0;
  }

  /** `isUnknown`: Q2. */
  status(): { readonly inForce: number; readonly isUnknown: boolean } {
    return { inForce: this.#book.notices().length, isUnknown: this.#isDamaged };
  }

  get sequence(): number {
    return this.#book.position.sequence;
  }

  against(request: Omit<NoticedRequest, 'hostId'>): Noticed | null {
    if (this.#isDamaged) return NOTICES_UNKNOWN;
    const hostId = this.#options.identity.enrolled?.hostId ?? '';
    return this.#book.against({ ...request, hostId });
  }

  /** What a sync says; `null` to a control that is not known to give notices. */
  request(): NoticePosition | null {
    return this.#isServed ? this.#confirmed : null;
  }

  /**
   * Q3: whether the answer may confirm anything. `isMore`: there is more to fetch, or to confirm.
   */
  async take(
    answer: NoticesAnswer | undefined,
  ): Promise<{ readonly isWhole: boolean; readonly isMore: boolean }> {
    // An older control gives none; one that gave some before may not forget how.
    if (answer === undefined) return { isWhole: this.sequence === 0, isMore: false };
    const wasServed = this.#isServed;
    this.#isServed = true;
    const before = this.#confirmed.sequence;
    const isTaken = answer.statement === undefined || (await this.#apply(answer.statement));
    const isBehind = this.sequence < answer.sequence;
    if (isTaken && !isBehind && wasServed) this.#isDamaged = false;
    const isMore = isTaken && (isBehind || this.#confirmed.sequence > before);
    return { isWhole: isTaken && !isBehind, isMore };
  }

  /**
   * What came outside of a sync. It confirms no authority, so it need not be an answer to this host:
   * what is old or foreign changes nothing (N1).
   */
  async takePushed(statement: string): Promise<void> {
    this.#isServed = true;
    await this.#apply(statement);
  }

  async #apply(statement: string): Promise<boolean> {
    const { identity, logger, metrics } = this.#options;
    const verified = await identity.verifier.verify(statement, {
      type: STATEMENT_TYPES.notices,
      schema: NoticesStatementSchema,
    });
    const refuse = (why: string, detail: string): false => {
      metrics.add('holdfast_notices_refused_total', { reason: why });
      logger.error(
        { reason: why, detail },
        'what control says of notices was refused; it confirms nothing',
      );
      return false;
    };
    if (!verified.ok) return refuse(verified.reason, verified.detail);
    const { controlId, entries } = verified.payload;
    if (controlId !== identity.enrolled?.controlId)
      return refuse('foreign_control', `it is of control ${controlId}`);
    const taken = this.#book.take(entries);
    if (taken.kind === 'refused') return refuse(taken.reason, taken.detail);
    if (taken.kind === 'taken') {
      const { begun, lifted } = taken;
      logger.warn({ begun, lifted, sequence: this.sequence }, 'notices taken');
      this.#showGauge();
    }
    return this.#confirm();
  }

  /** Q1. */
  async #confirm(): Promise<boolean> {
    const { position } = this.#book;
    try {
      this.#file.writeDurably({ position, notices: [...this.#book.notices()] });
      await this.#options.settled();
    } catch (error) {
      this.#options.logger.error(
        { err: error },
        'notices could not be stored; they are obeyed, and not confirmed',
      );
      // Said again from there: the book refuses what it has.
      return false;
    }
    // Of two at once the older may be done later.
    if (position.sequence > this.#confirmed.sequence) this.#confirmed = position;
    return true;
  }

  #showGauge(): void {
    this.#options.metrics.set('holdfast_notices_in_force', this.#book.notices().length);
  }
}
