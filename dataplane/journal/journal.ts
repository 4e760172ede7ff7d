/**
 * The journal as the sidecar uses it: commands queue here and are committed in groups.
 *
 * G1  While a commit is on its way, commands gather at the writer and go together with the next
 *     one: the cost of an fsync is shared and nobody waits for more than two. They are handed over
 *     as they come, a few at a time, so that both threads work at once.
 * G2  The queue is bounded: past it a caller is refused at once, never made to wait
 *     (`journal_busy`).
 * G3  After a failed commit nothing is known of its batch: every caller is told so
 *     (`outcome_unknown`), and the journal takes nothing more; `failed` tells the daemon to end.
 * G4  A journal that is not what is remembered of it is quarantined: it is read as far as it can be
 *     read and takes nothing. Where control proves a loss while it runs, the evidence is put on
 *     disk and the journal fails as in G3; the next start finds the evidence.
 * G5  Where the disk has no room, or is so slow that a write would wait for too long, new work is
 *     turned away and accepted work goes on. A key that is known is still answered with its record
 *     where there is no room; where the disk is slow nobody new joins the queue, not even to look.
 */
import { UNSAID, stateAtAdmission } from '../../shared/core/admission.ts';
import { LRUCache } from 'lru-cache';
import type { Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { failpoint } from '../../shared/platform/failpoints.ts';
import type { Admission, Outage, OutageTally } from '../../shared/wire/operation.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { AdmissionTexts } from '../core/admission-text.ts';
import { expectedWaitMs, usualCommitMs } from '../core/commit-wait.ts';
import type { OutageEventKind } from '../core/outage-interval.ts';
import type { RetentionLimits } from '../core/retention.ts';
import { storedAsAdmitted } from '../core/new-admission.ts';
import type { QuotaNote } from '../core/quota-note.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import type {
  BatchAnswer,
  JournalAnswer,
  JournalCommand,
  JournalWriter,
} from './journal-command.ts';
import type { JournalFeed, JournalHead } from './journal-feed.ts';
import type { JournalReader } from './journal-reader.ts';

const BATCH_COMMANDS_MAX = 512;
/** So many are worth a message to the writer while it is at work. */
const EARLY_COMMANDS = 16;
const BATCHES_AT_ONCE_MAX = 8;
const QUEUE_COMMANDS_MAX = 8_192;
const BUSY_RETRY_MS = 200;
const BUSY_RETRY_MS_MAX = 10_000;
const FULL_RETRY_MS = 5_000;
const HOT_OPERATIONS_MAX = 2_000;

type Queued = {
  readonly command: JournalCommand;
  readonly resolve: (answer: JournalAnswer) => void;
  readonly reject: (error: Error) => void;
};
type NewEntry = {
  readonly operationId: string;
  readonly admission: Admission;
  readonly authorityEndsBootMs: number;
  readonly quota?: QuotaNote | null;
  readonly now: Instant;
};
type Admitted =
  | { readonly type: 'admitted'; readonly operation: StoredOperation; readonly replayed: boolean }
  | (JournalAnswer & { type: 'declined' });
/** What new work is asked before it joins the queue. */
export type Intake = {
  /** Why the disk has no room for it; `null` while it has. */
  readonly noRoom: () => string | null;
  /** It is turned away where it would wait longer than this. */
  readonly waitMsMax: number;
  readonly onTurnedAway: (reason: 'journal_full' | 'journal_busy') => void;
};
type WithoutContext<T> = T extends unknown ? Omit<T, 'now' | 'outageId'> : never;

export class Journal implements JournalFeed {
  /** Why it takes nothing, and the way out; `null` while it is sound. */
  readonly quarantine: string | null;
  /** It takes nothing because its file system does not, and nothing is known to be wrong with it. */
  readonly isReadOnly: boolean;
  /** Rejects once, when the journal cannot go on. */
  readonly failed: Promise<never>;
  readonly #reader: JournalReader | null;
  readonly #writer: JournalWriter | null;
  readonly #onLoss: (evidence: string) => void;
  readonly #clock: Clock;
  readonly #onBatch: (batch: { size: number; commitMs: number }) => void;
  readonly #listeners: (() => void)[] = [];
  #onEnd: (operation: StoredOperation) => void = () => undefined;
  #onClaimable: (what: { app: string; action: string }) => void = () => undefined;
  #onChange: (operation: StoredOperation) => void = () => undefined;
  /** As they were committed last: what is worked on now is asked for often. */
  readonly #hot = new LRUCache<string, StoredOperation>({ max: HOT_OPERATIONS_MAX });
  readonly #texts = new AdmissionTexts();
  #state: BatchAnswer;
  #queue: Queued[] = [];
  readonly #writing = new Set<Promise<void>>();
  #failure: Error | null = null;
  #fail: (error: Error) => void = () => undefined;
  #outageId: () => string | null = () => null;
  #intake: Intake = {
    noRoom: () => null,
    waitMsMax: Number.POSITIVE_INFINITY,
    onTurnedAway: () => undefined,
  };
  #usualCommitMs: number | null = null;
  /** When each batch that is on its way was given to the writer. */
  readonly #givenBootMs: number[] = [];

  constructor(parts: {
    /** `null` in quarantine, as is a reader where nothing can be read. */
    writer: JournalWriter | null;
    reader: JournalReader | null;
    snapshot: BatchAnswer;
    clock: Clock;
    quarantine?: string;
    isReadOnly?: boolean;
    /** Puts on disk what the next start must know. */
    onLoss?: (evidence: string) => void;
    onBatch?: (batch: { size: number; commitMs: number }) => void;
  }) {
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.quarantine = parts.quarantine ?? null;
    this.isReadOnly = parts.isReadOnly ?? false;
    this.#onLoss = parts.onLoss ?? (() => undefined);
    this.#state = parts.snapshot;
    this.#clock = parts.clock;
    this.#onBatch = parts.onBatch ?? (() => undefined);
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    // Whoever awaits it gets the rejection; nobody else is to be troubled by it.
    this.failed.catch(() => undefined);
  }

  /** Every entry names the outage that was open when it was made. */
  useOutages(outageId: () => string | null): void {
    this.#outageId = outageId;
  }

  /** Told of each operation that has ended, before whoever ended it is answered. */
  onEnd(listener: (operation: StoredOperation) => void): void {
    this.#onEnd = listener;
  }

  /** Told of each operation that an attempt may begin of: it is accepted, for the first time or again. */
  onClaimable(listener: (what: { app: string; action: string }) => void): void {
    this.#onClaimable = listener;
  }

  /** Told of each operation that was changed, before whoever changed it is answered. */
  onChange(listener: (operation: StoredOperation) => void): void {
    this.#onChange = listener;
  }

  /** G5. */
  useIntake(intake: Intake): void {
    this.#intake = intake;
  }

  /** Throws `journal_quarantined` where nothing of it can be read. */
  get reader(): JournalReader {
    if (this.#reader === null) throw quarantined(this.quarantine);
    return this.#reader;
  }

  /** As it was committed last. Throws `journal_quarantined` where nothing can be read. */
  operation(operationId: string): StoredOperation | null {
    return this.#hot.get(operationId) ?? this.reader.operation(operationId);
  }

  /**
   * Resolves when the answer is on disk. Throws `journal_busy`, `outcome_unknown` or
   * `journal_quarantined`.
   */
  submit(command: WithoutContext<JournalCommand>): Promise<JournalAnswer> {
    return this.#submit({ ...command, now: this.#clock.now(), outageId: this.#outageId() });
  }

  /** As `submit`, and `journal_full`; what is admitted was decided `now`. */
  admit(entry: NewEntry): Promise<Admitted> {
    const outageId = this.#outageId();
    // One promise, and not one for each step: there are many of these.
    return new Promise((resolve, reject) => {
      const take = (answer: JournalAnswer): void => {
        if (answer.type === 'admitted') resolve(this.#admitted(entry, answer, outageId));
        else if (answer.type !== 'declined')
          reject(new Error(`the journal answered ${answer.type} to an admission`));
        else if (answer.code === 'journal_full') reject(this.#full(answer.detail));
        else resolve(answer);
      };
      this.#enqueue({ command: this.#admitCommand(entry, outageId), resolve: take, reject });
    });
  }

  #admitCommand(entry: NewEntry, outageId: string | null): JournalCommand {
    const { operationId, admission, authorityEndsBootMs, quota = null, now } = entry;
    return {
      type: 'admit',
      operationId,
      app: admission.app,
      idempotencyKey: admission.idempotencyKey,
      fingerprint: admission.fingerprint,
      leaseResource: admission.leaseResource ?? null,
      leaseEpoch: admission.leaseEpoch ?? null,
      state: stateAtAdmission(admission),
      onControlLoss: admission.onControlLoss ?? UNSAID.onControlLoss,
      deadlineAtMs: admission.deadlineAtMs,
      action: admission.action,
      authorityEndsBootMs,
      admission: this.#texts.textOf(admission),
      ...(quota === null ? {} : { quota }),
      now,
      outageId,
    };
  }

  #admitted(
    { operationId, admission, now }: NewEntry,
    { recorded }: JournalAnswer & { type: 'admitted' },
    outageId: string | null,
  ): Admitted {
    if (recorded !== null) return { type: 'admitted', operation: recorded, replayed: true };
    const entry = { operationId, atMs: now.wallMs, outageId };
    this.#onClaimable(admission);
    return { type: 'admitted', operation: storedAsAdmitted(admission, entry), replayed: false };
  }

  /** What the key names, as of every write that was asked for before. */
  async operationByKey(app: string, idempotencyKey: string): Promise<StoredOperation | null> {
    const answer = await this.submit({ type: 'find_key', app, idempotencyKey });
    if (answer.type !== 'found')
      throw new Error(`the journal answered ${answer.type} to a look at a key`);
    return answer.operation;
  }

  #submit(command: JournalCommand): Promise<JournalAnswer> {
    return new Promise((resolve, reject) => this.#enqueue({ command, resolve, reject }));
  }

  #enqueue(queued: Queued): void {
    const refusal = this.#refusalOf(queued.command);
    if (refusal !== null) return queued.reject(refusal);
    this.#queue.push(queued);
    this.#writeSoon();
  }

  /** G2 to G5. */
  #refusalOf(command: JournalCommand): HoldfastError | null {
    if (this.quarantine !== null) return quarantined(this.quarantine);
    if (this.#failure !== null) return unknownOutcome(this.#failure);
    if (this.#queue.length < QUEUE_COMMANDS_MAX) return this.#turnedAway(command);
    const detail = `${this.#queue.length} writes are waiting for the disk: slow down`;
    return new HoldfastError('journal_busy', detail, { retry_after_ms: BUSY_RETRY_MS });
  }

  /** G5. */
  #turnedAway({ type }: JournalCommand): HoldfastError | null {
    if (type !== 'admit' && type !== 'find_key' && type !== 'refuse') return null;
    const waitMs = this.expectedWaitMs();
    if (waitMs > this.#intake.waitMsMax) {
      this.#intake.onTurnedAway('journal_busy');
      return new HoldfastError(
        'journal_busy',
        `the disk is slow: a write would wait ${waitMs} ms and new work at most ${this.#intake.waitMsMax} ms; accepted work goes on, ask again with the same key`,
        { retry_after_ms: Math.min(Math.max(waitMs, BUSY_RETRY_MS), BUSY_RETRY_MS_MAX) },
      );
    }
    // A refusal is new to the journal as well, and anybody could fill the last room with them.
    const noRoom = type === 'refuse' ? this.#intake.noRoom() : null;
    return noRoom === null ? null : this.#full(noRoom);
  }

  #full(detail: string): HoldfastError {
    this.#intake.onTurnedAway('journal_full');
    return new HoldfastError('journal_full', detail, { retry_after_ms: FULL_RETRY_MS });
  }

  queueLength(): number {
    return this.#queue.length;
  }

  /** Of a write that is asked for now. */
  expectedWaitMs(): number {
    const [from = null] = this.#givenBootMs;
    return expectedWaitMs({
      usualMs: this.#usualCommitMs,
      runningMs: from === null ? null : this.#clock.now().bootMs - from,
      queueLength: this.#queue.length,
      batchMax: BATCH_COMMANDS_MAX,
    });
  }

  /** Whether new work is turned away because the disk is slow. */
  isShedding(): boolean {
    return this.expectedWaitMs() > this.#intake.waitMsMax;
  }

  head(): JournalHead {
    return this.#state.head;
  }

  operationCounts(): Readonly<Record<string, number>> {
    return this.#state.counts;
  }

  ackedSeq(): number {
    return this.#state.ackedSeq;
  }

  eventsAfter(seq: number, limit: number): ReturnType<JournalReader['eventsAfter']> {
    return this.reader.eventsAfter(seq, limit);
  }

  reportAfter(seq: number, limit: number): ReturnType<JournalFeed['reportAfter']> {
    return this.reader.reportAfter(seq, limit);
  }

  async acknowledge(seq: number): Promise<void> {
    const answer = await this.submit({ type: 'acknowledge', seq });
    if (answer.type !== 'behind_control' || this.#failure !== null) return;
    const evidence = `the journal ends at entry ${answer.seq} and control holds it up to entry ${seq}`;
    this.#onLoss(evidence);
    this.#stop(new Error(evidence), []);
  }

  /** One step of the retention. */
  async prune(limits: RetentionLimits): Promise<JournalAnswer & { type: 'pruned' }> {
    const answer = await this.submit({ type: 'prune', limits });
    if (answer.type === 'pruned') return answer;
    const why = answer.type === 'declined' ? answer.detail : answer.type;
    throw new Error(`the journal could not be pruned: ${why}`);
  }

  async recordOutage(kind: OutageEventKind, outage: Outage): Promise<Outage> {
    const answer = await this.submit({ type: 'record_outage', kind, outage });
    return answer.type === 'outage_recorded' ? answer.outage : outage;
  }

  async recordPolicy(
    kind: 'policy_activated' | 'policy_rejected',
    fact: { policyRevision: number; reason?: string },
  ): Promise<void> {
    await this.submit({ type: 'record_policy', kind, fact });
  }

  /** What has happened in the outage that is open, as committed; `null` where it is not that one. */
  openTally(outageId: string): OutageTally | null {
    const { outage } = this.#state;
    return outage?.outageId === outageId ? outage.tally : null;
  }

  openOutage(): Outage | null {
    const latest = this.reader.recovery.latestOutage();
    return latest !== null && latest.outage.toMs === null ? latest.outage : null;
  }

  onCommit(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Writes what is queued, then closes. */
  async close(): Promise<void> {
    while (this.#writing.size > 0) await Promise.all(this.#writing);
    if (this.#failure === null) await this.#writer?.close();
    this.#reader?.close();
  }

  /** G1: the first of many waits for nobody but its neighbours of the same moment. */
  #writeSoon(): void {
    if (this.#writing.size === 0) {
      // Held while the moment lasts, so that there is one of these.
      const moment = Promise.resolve().then(() => {
        this.#writing.delete(moment);
        this.#writeBatch();
      });
      this.#writing.add(moment);
    } else if (this.#queue.length >= EARLY_COMMANDS && this.#writing.size < BATCHES_AT_ONCE_MAX) {
      this.#writeBatch();
    }
  }

  #writeBatch(): void {
    if (this.#queue.length === 0 || this.#failure !== null) return;
    const writing = this.#write(this.#queue.splice(0, BATCH_COMMANDS_MAX)).then(() => {
      this.#writing.delete(writing);
      this.#writeBatch();
    });
    this.#writing.add(writing);
  }

  async #write(batch: readonly Queued[]): Promise<void> {
    try {
      if (this.#writer === null) throw quarantined(this.quarantine);
      const state = await this.#writer.write(this.#commandsOf(batch));
      this.#noteCommit();
      failpoint('journal.before_answers');
      const before = this.#state.head.seq;
      this.#state = state;
      this.#onBatch({ size: batch.length, commitMs: state.commitMs });
      batch.forEach(({ resolve, reject }, index) => {
        const answer = state.answers[index];
        if (answer === undefined) return reject(new Error('the writer gave no answer'));
        // In the order of the commits: before whoever waits for this one can ask for the next.
        if (answer.type === 'applied') {
          this.#hot.set(answer.operation.operationId, answer.operation);
          if (answer.changed) this.#onChange(answer.operation);
          if (answer.ended) this.#onEnd(answer.operation);
          if (answer.operation.state === 'accepted') this.#onClaimable(answer.operation);
        }
        if (answer.type === 'claimed')
          for (const each of answer.operations) {
            this.#hot.set(each.operationId, each);
            this.#onChange(each);
          }
        if (answer.type === 'pruned')
          for (const operationId of answer.operationIds) this.#hot.delete(operationId);
        resolve(answer);
      });
      if (state.head.seq > before) for (const listener of this.#listeners) listener();
    } catch (error) {
      this.#stop(error instanceof Error ? error : new Error(String(error)), batch);
    }
  }

  /** Whether there is room is asked now: a command may have waited in the queue past it. */
  #commandsOf(batch: readonly Queued[]): JournalCommand[] {
    this.#givenBootMs.push(this.#clock.now().bootMs);
    const noRoom = this.#intake.noRoom();
    return batch.map(({ command }) =>
      noRoom === null || command.type !== 'admit' ? command : { ...command, noRoom },
    );
  }

  /** As callers feel it: all of the batch, and not its fsync alone. */
  #noteCommit(): void {
    const nowMs = this.#clock.now().bootMs;
    const tookMs = nowMs - (this.#givenBootMs.shift() ?? nowMs);
    this.#usualCommitMs = usualCommitMs(this.#usualCommitMs, tookMs);
  }

  /** G3. */
  #stop(error: Error, batch: readonly Queued[]): void {
    this.#failure = error;
    for (const { reject } of [...batch, ...this.#queue.splice(0)]) reject(unknownOutcome(error));
    this.#fail(
      new Error(
        `the journal failed and the sidecar ends, so that what is on disk can be read anew: ${error.message}`,
        { cause: error },
      ),
    );
  }
}

export function quarantined(detail: string | null): HoldfastError {
  return new HoldfastError('journal_quarantined', detail ?? 'the journal cannot be read');
}

function unknownOutcome(error: Error): HoldfastError {
  return new HoldfastError(
    'outcome_unknown',
    'the commit failed and its outcome is not known: ask again with the same key after the restart',
    {
      cause: error,
      retry_after_ms: 1_000,
    },
  );
}
