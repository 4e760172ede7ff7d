/**
 * Gives notices to hosts: numbers them, signs them, and knows who has confirmed which. What it has
 * given counts in the timeline of authority as well (`notice-board.ts`), by the same write.
 *
 * D1  A number is above the floor file before it is given, and on disk before anybody hears of it: no
 *     copy that is put back gives it again for something else (E1).
 * D2  Writes follow each other; each is decided on the log as the one before it left it.
 * D3  One that is in force already is not begun again: whoever lost the answer asks once more.
 */
import { makeId } from '../../shared/core/ids.ts';
import { NoticeIndex } from '../../shared/core/notice-index.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Signer } from '../../shared/platform/signatures.ts';
import {
  NOTICES_IN_FORCE_MAX,
  NOTICES_STATEMENT_HEADER_LENGTH_MAX,
  NOTICE_ENTRIES_MAX,
  type NoticeEntry,
  type NoticePosition,
  type NoticeRequest,
  type NoticesAnswer,
  type NoticesStatement,
} from '../../shared/wire/notices.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import { STATEMENT_TYPES } from '../../shared/wire/statements.ts';
import type { Notice } from '../core/authority-timeline.ts';
import {
  entriesAfter,
  headOf,
  isOfHistory,
  isPlausible,
  newestByNotice,
  nextNumber,
  toSayAgain,
  type NoticeLog,
} from '../core/notice-delivery.ts';
import { subjectProblem } from '../core/notice-subject.ts';
import type { FloorKeeper } from '../leases/floor-keeper.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { ControlTime } from '../reports/control-time.ts';
import type { AuditDraft } from '../store/control-store.ts';
import type { NoticeHolder, NoticeStore } from '../store/notice-store.ts';
import type { NoticeBoard } from './notice-board.ts';

type Ports = {
  readonly store: NoticeStore;
  readonly board: NoticeBoard;
  readonly floors: FloorKeeper;
  readonly signer: Signer;
  readonly controlId: string;
  readonly time: ControlTime;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics<ControlMetrics>;
  /** Those who wait at control are to look: there is a new number. */
  readonly wake: () => void;
};

type HostOfEpoch = { readonly hostId: string; readonly hostEpoch: number };
type Change = Pick<NoticeEntry, 'noticeId' | 'kind' | 'subject' | 'reason' | 'inForce' | 'atMs'>;

/** Hosts lack the same few: one signature serves all of them. */
const SIGNED_KEPT = 32;

export class NoticeDesk {
  readonly #ports: Ports;
  readonly #holders: Map<string, NoticeHolder>;
  readonly #signed = new Map<string, Promise<string>>();
  readonly #inForce = new NoticeIndex<NoticeEntry>();
  #log: NoticeLog;
  #newest: ReadonlyMap<string, NoticeEntry>;
  /** D2. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(ports: Ports, log: NoticeLog, holders: Map<string, NoticeHolder>) {
    this.#ports = ports;
    this.#log = log;
    this.#holders = holders;
    this.#newest = newestByNotice(log);
    for (const entry of this.#newest.values()) if (entry.inForce) this.#inForce.add(entry);
    this.#showInForce();
  }

  static async open(ports: Ports): Promise<NoticeDesk> {
    const { store } = ports;
    return new NoticeDesk(ports, await store.log(), new Map(await store.holders()));
  }

  get log(): NoticeLog {
    return this.#log;
  }

  get sequence(): number {
    return headOf(this.#log);
  }

  /** Up to where that host has them; 0 where what it said is not of this history. */
  heldBy({ hostId, hostEpoch }: HostOfEpoch): number {
    const holder = this.#holders.get(hostId);
    if (holder?.hostEpoch !== hostEpoch || !isOfHistory(this.#log, holder.position)) return 0;
    return holder.position.sequence;
  }

  /** As `heldBy`, for the enrolment that it spoke under last. */
  heldLast(hostId: string): number {
    const hostEpoch = this.#holders.get(hostId)?.hostEpoch;
    return hostEpoch === undefined ? 0 : this.heldBy({ hostId, hostEpoch });
  }

  /** A host that takes notices, and has not got all of them. */
  isBehind(host: HostOfEpoch): boolean {
    return this.#holders.has(host.hostId) && this.heldBy(host) < this.sequence;
  }

  /** What speaks against that request of a host. Which app asks is known there alone. */
  against(hostId: string, { principal, action, resource }: DecisionInput): NoticeEntry | null {
    const request = { hostId, app: null, principal, action, resourceId: resource?.id ?? '' };
    return this.#inForce.against(request);
  }

  record(
    request: NoticeRequest,
    actor: string,
  ): Promise<{ readonly noticeId: string; readonly isNew: boolean }> {
    const { kind } = request;
    const [subject, reason] = [request.subject.trim(), request.reason.trim()];
    const problem = subjectProblem(kind, subject);
    if (problem !== null) throw badSubject(subject, problem);
    return this.#inTurn(async () => {
      const same = [...this.#newest.values()].find(
        (entry) => entry.inForce && entry.kind === kind && entry.subject === subject,
      );
      if (same !== undefined) return { noticeId: same.noticeId, isNew: false };
      if (this.#inForce.size >= NOTICES_IN_FORCE_MAX) throw tooMany();
      const { clock, random, time } = this.#ports;
      const atMs = clock.now().wallMs;
      const noticeId = makeId('ntc', atMs, random.bytes(16));
      const notice = { noticeId, kind, subject, reason, fromMs: time.nowMs(), untilMs: null };
      const change = { noticeId, kind, subject, reason, inForce: true, atMs };
      await this.#write([change], notice, actor);
      return { noticeId, isNew: true };
    });
  }

  /** Throws `not_found`. One that is lifted stays so. */
  lift(noticeId: string, { reason, actor }: { reason: string; actor: string }): Promise<void> {
    return this.#inTurn(async () => {
      const known = this.#newest.get(noticeId);
      if (known === undefined) throw unknownNotice(noticeId);
      if (!known.inForce) return;
      const { board, clock, time } = this.#ports;
      const atMs = clock.now().wallMs;
      const begun = board.notices().find((notice) => notice.noticeId === noticeId);
      const notice = begun === undefined ? null : { ...begun, untilMs: time.nowMs() };
      await this.#write([{ ...known, reason: reason.trim(), inForce: false, atMs }], notice, actor);
    });
  }

  /** For the answer to a sync. `said`: the position of the host; left out by one that takes none. */
  async forHost(host: HostOfEpoch, said: NoticePosition | undefined): Promise<NoticesAnswer> {
    if (said === undefined) return { sequence: this.sequence };
    await this.#note(host, said);
    const entries = entriesAfter(this.#log, said.sequence, NOTICE_ENTRIES_MAX);
    if (entries.length === 0) return { sequence: this.sequence };
    return { sequence: this.sequence, statement: await this.#sign(entries) };
  }

  /** For who waits: what that host lacks, `null` where that is not known, or too much for a header. */
  async pushFor({ hostId, hostEpoch }: HostOfEpoch): Promise<string | null> {
    const holder = this.#holders.get(hostId);
    if (holder?.hostEpoch !== hostEpoch || !isOfHistory(this.#log, holder.position)) return null;
    const entries = entriesAfter(this.#log, holder.position.sequence, NOTICE_ENTRIES_MAX);
    if (entries.length === 0) return null;
    const statement = await this.#sign(entries);
    return statement.length > NOTICES_STATEMENT_HEADER_LENGTH_MAX ? null : statement;
  }

  async #note({ hostId, hostEpoch }: HostOfEpoch, position: NoticePosition): Promise<void> {
    const before = this.#holders.get(hostId);
    const isNews =
      before?.hostEpoch !== hostEpoch ||
      before.position.sequence !== position.sequence ||
      before.position.entryId !== position.entryId;
    if (isNews) {
      const holder = { hostEpoch, position };
      this.#holders.set(hostId, holder);
      await this.#ports.store.keepHolder(hostId, holder);
    }
    if (!isOfHistory(this.#log, position)) await this.#sayAgain(hostId, position);
  }

  /** E3. */
  #sayAgain(hostId: string, { sequence }: NoticePosition): Promise<void> {
    const { floors, logger } = this.#ports;
    return this.#inTurn(async () => {
      if (!isPlausible(this.#log, floors.noticeSequence, sequence)) {
        logger.warn({ hostId, sequence }, 'notices that a host says it has are implausible');
        return;
      }
      floors.reserve({ noticeSequence: sequence });
      const again = toSayAgain(this.#log, sequence);
      if (again.length === 0) return;
      logger.warn(
        { hostId, sequence, notices: again.length },
        'a host has notices of another history: all are said again',
      );
      await this.#write(again, null, 'control');
    });
  }

  async #write(changes: readonly Change[], notice: Notice | null, actor: string): Promise<void> {
    const { store, board, floors, random, logger, wake } = this.#ports;
    const entries: NoticeEntry[] = [];
    for (const { noticeId, kind, subject, reason, inForce, atMs } of changes) {
      const number = nextNumber([...this.#log.slice(-1), ...entries], floors.noticeSequence);
      const entryId = Buffer.from(random.bytes(12)).toString('base64url');
      entries.push({ ...number, entryId, noticeId, kind, subject, reason, inForce, atMs });
      // D1.
      floors.reserve({ noticeSequence: number.sequence });
    }
    const audit = notice === null && actor === 'control' ? [] : entries.map(auditBy(actor));
    if ((await store.append({ entries, notice, audit })) !== 'ok')
      throw new HoldfastError('overloaded', 'another write was faster: ask again', {
        retry_after_ms: 1_000,
      });
    for (const entry of entries) {
      const before = this.#newest.get(entry.noticeId);
      if (before?.inForce === true) this.#inForce.remove(before);
      if (entry.inForce) this.#inForce.add(entry);
    }
    this.#log = [...this.#log, ...entries];
    this.#newest = newestByNotice(this.#log);
    if (notice !== null) board.adopt(notice);
    for (const { sequence, noticeId, kind, subject, inForce } of entries)
      logger.warn({ sequence, noticeId, kind, subject, inForce, by: actor }, 'notice given');
    this.#showInForce();
    wake();
  }

  #sign(entries: NoticeLog): Promise<string> {
    const { signer, controlId } = this.#ports;
    const key = `${entries[0]?.sequence}-${headOf(entries)}`;
    let signed = this.#signed.get(key);
    if (signed === undefined) {
      const statement: NoticesStatement = { controlId, entries: [...entries] };
      signed = signer.sign(STATEMENT_TYPES.notices, statement);
      this.#signed.set(key, signed);
      const [oldest] = this.#signed.keys();
      if (this.#signed.size > SIGNED_KEPT && oldest !== undefined) this.#signed.delete(oldest);
    }
    return signed;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }

  #showInForce(): void {
    this.#ports.metrics.set('holdfast_control_notices_in_force', this.#inForce.size);
  }
}

export function unknownNotice(noticeId: string): HoldfastError {
  return new HoldfastError(
    'not_found',
    `there is no notice ${noticeId}; GET /v1/notices lists them`,
  );
}

function auditBy(actor: string): (entry: NoticeEntry) => AuditDraft {
  return ({ sequence, noticeId, kind, subject, reason, inForce, atMs }) => ({
    atMs,
    actor,
    action: inForce ? 'notice.recorded' : 'notice.lifted',
    target: `notice/${noticeId}`,
    detail: { sequence, kind, subject, reason },
  });
}

function badSubject(subject: string, message: string): HoldfastError {
  return new HoldfastError('invalid_request', `/subject ${subject} ${message}`, {
    errors: [{ path: '/subject', message }],
  });
}

function tooMany(): HoldfastError {
  return new HoldfastError(
    'notices_full',
    `${NOTICES_IN_FORCE_MAX} notices are in force, and hosts take no more: lift some, or put what stays into the policy`,
  );
}
