/**
 * The writer itself, without its thread: it owns the one writing connection.
 *
 * J1  A batch is one transaction: an answer exists only after COMMIT returned, so what is answered
 *     is on disk (I1).
 * J2  Each decision about a record is made on the record as it is inside that transaction; commands
 *     of one batch see each other's effects, in order.
 * J3  Every entry is chained to the one before it by hash; seq has no gaps.
 * J4  An error from SQLite is never retried: it is thrown, the batch's outcome is unknown, and the
 *     engine refuses everything after it.
 * J5  How far it has come is remembered outside the database as well, after COMMIT and before the
 *     answer (`head-file.ts`).
 * J6  A command that cannot be applied, for a reason of its own, costs its own caller an answer and
 *     nobody else: its batch is undone and taken one by one.
 */
import { checkFence } from '../../shared/core/lease.ts';
import type { Instant } from '../../shared/core/time.ts';
import { FIRST_PREVIOUS_HASH, type EventKind, type Outage } from '../../shared/wire/operation.ts';
import { chainHash } from '../../shared/platform/digest.ts';
import { migrate, openDatabase, type Database } from '../../shared/platform/sqlite.ts';
import type { ChainPlace, JournalMemory } from '../core/journal-verdict.ts';
import { applyLifecycleEvent } from '../core/operation-lifecycle.ts';
import {
  SETTLED_STATES,
  type LifecycleEvent,
  type StoredOperation,
} from '../core/operation-record.ts';
import type { BatchAnswer, JournalAnswer, JournalCommand } from './journal-command.ts';
import { HeadFile } from './head-file.ts';
import type { JournalFiles } from './journal-files.ts';
import { JOURNAL_MIGRATIONS, recordDigest } from './journal-schema.ts';

export type EngineClock = { now(): Instant };

export class JournalEngine {
  readonly #database: Database;
  readonly #clock: EngineClock;
  readonly #statements: Statements;
  readonly #counts = new Map<string, number>();
  #seq: number;
  #hash: string;
  readonly #headFile: HeadFile;
  #acked: ChainPlace;
  #failed = false;

  constructor(files: Pick<JournalFiles, 'database' | 'head'>, clock: EngineClock) {
    this.#database = openDatabase(files.database);
    this.#clock = clock;
    migrate(this.#database, JOURNAL_MIGRATIONS);
    this.#statements = prepareStatements(this.#database);
    const last = this.#statements.lastEvent.get() as { seq: number; hash: string } | undefined;
    this.#seq = last?.seq ?? 0;
    this.#hash = last?.hash ?? FIRST_PREVIOUS_HASH;
    const acked = this.#statements.fact.get('acked_seq') as { value: string } | undefined;
    this.#acked = this.#placeOf(Number(acked?.value ?? 0));
    for (const row of this.#statements.countByState.all() as { state: string; count: number }[])
      this.#counts.set(row.state, row.count);
    this.#headFile = HeadFile.open(files.head, this.#memory());
  }

  /** The state that a batch answer carries, before any batch. */
  snapshot(): BatchAnswer {
    return {
      answers: [],
      head: { seq: this.#seq, hash: this.#hash },
      ackedSeq: this.#acked.seq,
      counts: Object.fromEntries(this.#counts),
      commitMs: 0,
    };
  }

  /** J1, J4. */
  write(commands: readonly JournalCommand[]): BatchAnswer {
    if (this.#failed) throw new Error('the journal has failed and takes no more writes');
    try {
      return this.#commit(commands);
    } catch (error) {
      if (this.#failed || isStorageError(error)) {
        this.#failed = true;
        throw error;
      }
      return this.#commitOneByOne(commands);
    }
  }

  /** J6. */
  #commitOneByOne(commands: readonly JournalCommand[]): BatchAnswer {
    const answers: JournalAnswer[] = [];
    let commitMs = 0;
    for (const command of commands) {
      try {
        const batch = this.#commit([command]);
        answers.push(...batch.answers);
        commitMs += batch.commitMs;
      } catch (error) {
        if (this.#failed || isStorageError(error)) {
          this.#failed = true;
          throw error;
        }
        answers.push(cannotApply(error));
      }
    }
    return { ...this.snapshot(), answers, commitMs };
  }

  #commit(commands: readonly JournalCommand[]): BatchAnswer {
    const before = {
      seq: this.#seq,
      hash: this.#hash,
      acked: this.#acked,
      counts: [...this.#counts],
    };
    this.#database.exec('BEGIN IMMEDIATE');
    let answers: JournalAnswer[];
    try {
      answers = commands.map((command) => this.#apply(command));
    } catch (error) {
      if (isStorageError(error)) throw error;
      this.#database.exec('ROLLBACK');
      this.#seq = before.seq;
      this.#hash = before.hash;
      this.#acked = before.acked;
      this.#counts.clear();
      for (const [state, count] of before.counts) this.#counts.set(state, count);
      throw error;
    }
    const startedMs = this.#clock.now().bootMs;
    this.#database.exec('COMMIT');
    const endedMs = this.#clock.now().bootMs;
    try {
      this.#headFile.write(this.#memory(), endedMs);
    } catch (error) {
      // Committed already: never to be taken again.
      this.#failed = true;
      throw error;
    }
    return { ...this.snapshot(), answers, commitMs: endedMs - startedMs };
  }

  /** For a quiet time: what was remembered last is then safe from a power cut too. */
  syncHead(): void {
    if (this.#failed) return;
    try {
      this.#headFile.sync();
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  close(): void {
    // First the memory: what is not on disk yet would look like an older one.
    this.#headFile.close();
    this.#database.close();
  }

  /** J5. */
  #memory(): JournalMemory {
    return { head: { seq: this.#seq, hash: this.#hash }, acked: this.#acked };
  }

  #placeOf(seq: number): ChainPlace {
    const row = this.#statements.hashAt.get(seq) as { hash: string } | undefined;
    return row === undefined ? { seq: 0, hash: FIRST_PREVIOUS_HASH } : { seq, hash: row.hash };
  }

  #apply(command: JournalCommand): JournalAnswer {
    switch (command.type) {
      case 'admit':
        return this.#admit(command);
      case 'refuse': {
        const seq = this.#append('refused', null, { refusal: command.refusal }, command);
        this.#statements.insertRefusal.run(
          seq,
          command.refusal.refusalId,
          command.refusal.reason,
          JSON.stringify(command.refusal),
        );
        return { type: 'recorded' };
      }
      case 'apply':
        return this.#applyEvent(command);
      case 'check_fence':
        return this.#checkFence(command);
      case 'record_outage':
        this.#recordOutage(command);
        return { type: 'recorded' };
      case 'record_policy':
        this.#append(command.kind, null, command.fact, command);
        return { type: 'recorded' };
      case 'acknowledge':
        // Decided here, where every entry that anybody was shown has been counted.
        if (command.seq > this.#seq) return { type: 'behind_control', seq: this.#seq };
        if (command.seq > this.#acked.seq) {
          this.#acked = this.#placeOf(command.seq);
          this.#statements.setFact.run('acked_seq', String(this.#acked.seq));
          this.#statements.setFact.run('acked_hash', this.#acked.hash);
        }
        return { type: 'recorded' };
    }
  }

  /** I2: the key is looked up in the transaction that would take it. */
  #admit(command: JournalCommand & { type: 'admit' }): JournalAnswer {
    const { operation } = command;
    const known = this.#statements.byKey.get(operation.app, operation.idempotencyKey) as
      | { record: string }
      | undefined;
    if (known !== undefined) {
      const recorded = JSON.parse(known.record) as StoredOperation;
      if (recorded.fingerprint === operation.fingerprint)
        return { type: 'admitted', operation: recorded, replayed: true };
      return {
        type: 'declined',
        code: 'idempotency_key_reused',
        detail: `Idempotency-Key ${operation.idempotencyKey} names operation ${recorded.operationId} with another payload: use a new key for a new operation`,
      };
    }
    // Once more, at the last moment: the request may have waited in the queue past what allowed it.
    if (this.#clock.now().bootMs > command.authorityEndsBootMs) {
      return operation.leaseResource === null
        ? {
            type: 'declined',
            code: 'policy_expired',
            detail:
              'the authority for this operation ended while it waited for the journal: try again',
          }
        : {
            type: 'declined',
            code: 'lease_expired',
            detail: `the authority for ${operation.leaseResource} ended while it waited for the journal: try again`,
          };
    }
    const seq = this.#append(
      'admitted',
      operation.operationId,
      { operation: shownOperation(operation) },
      command,
    );
    if (operation.leaseResource !== null && operation.leaseEpoch !== null)
      this.#raiseFence(operation.leaseResource, operation.leaseEpoch);
    const record = JSON.stringify(operation);
    this.#statements.insertOperation.run(
      seq,
      operation.operationId,
      operation.app,
      operation.idempotencyKey,
      operation.state,
      operation.onControlLoss,
      operation.deadlineAtMs,
      record,
      recordDigest(seq, record),
    );
    this.#count(operation.state, 1);
    return { type: 'admitted', operation, replayed: false };
  }

  /** J2. */
  #applyEvent(command: JournalCommand & { type: 'apply' }): JournalAnswer {
    const row = this.#statements.byId.get(command.operationId) as { record: string } | undefined;
    const operation = row === undefined ? null : (JSON.parse(row.record) as StoredOperation);
    if (operation === null || (command.app !== null && operation.app !== command.app)) {
      return {
        type: 'declined',
        code: 'operation_not_found',
        detail: `there is no operation ${command.operationId} of this app`,
      };
    }
    const stale = this.#staleOwner(operation, command.event);
    if (stale !== null) return stale;
    const result = applyLifecycleEvent(operation, command.event, command.now);
    if (!result.ok) return { type: 'declined', code: result.code, detail: result.detail };
    if (result.note !== null) {
      const next = result.operation;
      const seq = this.#append(result.note.kind, next.operationId, result.note.body, command);
      const ended = SETTLED_STATES.has(next.state) && !SETTLED_STATES.has(operation.state);
      const record = JSON.stringify(next);
      this.#statements.updateOperation.run(
        next.state,
        ended ? seq : null,
        record,
        recordDigest(seq, record),
        next.operationId,
      );
      if (next.leaseResource !== null && next.attemptLeaseEpoch !== null)
        this.#raiseFence(next.leaseResource, next.attemptLeaseEpoch);
      if (next.state !== operation.state) {
        this.#count(operation.state, -1);
        this.#count(next.state, 1);
      }
    }
    return {
      type: 'applied',
      operation: result.operation,
      changed: result.note !== null,
      replayed: result.replayed,
    };
  }

  /** I6: a step of a guarded operation under an epoch below the highest seen here is refused. */
  #staleOwner(operation: StoredOperation, event: LifecycleEvent): JournalAnswer | null {
    if (
      operation.leaseResource === null ||
      (event.kind !== 'start_attempt' && event.kind !== 'begin_effect')
    )
      return null;
    const epoch = event.ownership?.owned === true ? event.ownership.epoch : null;
    if (epoch === null) return null;
    const verdict = checkFence(this.#fence(operation.leaseResource), epoch);
    if (verdict.accepted) return null;
    return {
      type: 'declined',
      code: 'stale_owner',
      detail: `epoch ${epoch} for ${operation.leaseResource} is below ${verdict.highestEpoch}, the highest seen on this host`,
    };
  }

  #checkFence(command: JournalCommand & { type: 'check_fence' }): JournalAnswer {
    const verdict = checkFence(this.#fence(command.resource), command.epoch);
    if (verdict.accepted && verdict.advances) {
      this.#append(
        'fence_advanced',
        null,
        { resource: command.resource, epoch: command.epoch },
        command,
      );
      this.#statements.setFence.run(command.resource, command.epoch);
    }
    return { type: 'fence', accepted: verdict.accepted, highestEpoch: verdict.highestEpoch };
  }

  #fence(resource: string): number | null {
    return (this.#statements.fence.get(resource) as { epoch: number } | undefined)?.epoch ?? null;
  }

  #raiseFence(resource: string, epoch: number): void {
    const verdict = checkFence(this.#fence(resource), epoch);
    if (verdict.accepted && verdict.advances) this.#statements.setFence.run(resource, epoch);
  }

  #recordOutage(command: JournalCommand & { type: 'record_outage' }): void {
    const { outage, kind } = command;
    const seq = this.#append(kind, null, { outage }, { ...command, outageId: outage.outageId });
    const known = this.#statements.outage.get(outage.outageId) as
      | { opened_seq: number }
      | undefined;
    const closed = kind === 'outage_closed' ? seq : null;
    this.#statements.setOutage.run(
      outage.outageId,
      known?.opened_seq ?? seq,
      closed,
      JSON.stringify(outage satisfies Outage),
    );
  }

  /** J3. */
  #append(
    kind: EventKind,
    operationId: string | null,
    body: Readonly<Record<string, unknown>>,
    context: { now: Instant; outageId: string | null },
  ): number {
    const seq = this.#seq + 1;
    // What is hashed is what is stored and sent: the body goes through JSON once, first.
    const text = JSON.stringify(body);
    const entry = {
      seq,
      atMs: context.now.wallMs,
      kind,
      operationId,
      outageId: context.outageId,
      body: JSON.parse(text) as unknown,
    };
    this.#hash = chainHash(this.#hash, entry);
    this.#seq = seq;
    this.#statements.insertEvent.run(
      seq,
      entry.atMs,
      kind,
      operationId,
      context.outageId,
      text,
      this.#hash,
    );
    return seq;
  }

  #count(state: string, change: number): void {
    this.#counts.set(state, (this.#counts.get(state) ?? 0) + change);
  }
}

/** What leaves the host: without the fields that only this host uses. */
export function shownOperation({
  attemptKeys: _keys,
  deadlineBoot: _boot,
  effects,
  ...operation
}: StoredOperation): Record<string, unknown> {
  return { ...operation, effects: effects.map(({ beginKey: _begin, ...effect }) => effect) };
}

/** SQLite's own word on the disk, or on a file that somebody else wrote to: never on one command. */
function isStorageError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === 'ERR_SQLITE_ERROR' || code === 'ERR_INVALID_STATE' || isFileError(error);
}

function isFileError(error: unknown): boolean {
  return typeof (error as { syscall?: unknown }).syscall === 'string';
}

function cannotApply(error: unknown): JournalAnswer {
  const why = error instanceof Error ? error.message : String(error);
  return { type: 'declined', code: 'internal', detail: `this cannot be recorded: ${why}` };
}

type Statements = ReturnType<typeof prepareStatements>;

function prepareStatements(database: Database) {
  return {
    lastEvent: database.prepare('SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1'),
    hashAt: database.prepare('SELECT hash FROM events WHERE seq = ?'),
    countByState: database.prepare(
      'SELECT state, count(*) AS count FROM operations GROUP BY state',
    ),
    insertEvent: database.prepare(
      'INSERT INTO events (seq, at_ms, kind, operation_id, outage_id, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    insertOperation: database.prepare(
      'INSERT INTO operations (seq, operation_id, app, idempotency_key, state, on_control_loss, deadline_at_ms, record, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
    ),
    updateOperation: database.prepare(
      'UPDATE operations SET state = ?, settled_seq = coalesce(settled_seq, ?), record = ?, digest = ? WHERE operation_id = ?',
    ),
    byKey: database.prepare('SELECT record FROM operations WHERE app = ? AND idempotency_key = ?'),
    byId: database.prepare('SELECT record FROM operations WHERE operation_id = ?'),
    insertRefusal: database.prepare(
      'INSERT INTO refusals (seq, refusal_id, reason, record) VALUES (?, ?, ?, ?)',
    ),
    fence: database.prepare('SELECT epoch FROM fences WHERE resource = ?'),
    setFence: database.prepare(
      'INSERT INTO fences (resource, epoch) VALUES (?, ?) ON CONFLICT (resource) DO UPDATE SET epoch = excluded.epoch',
    ),
    outage: database.prepare('SELECT opened_seq FROM outages WHERE outage_id = ?'),
    setOutage: database.prepare(
      'INSERT INTO outages (outage_id, opened_seq, closed_seq, record) VALUES (?, ?, ?, ?) ON CONFLICT (outage_id) DO UPDATE SET closed_seq = excluded.closed_seq, record = excluded.record',
    ),
    fact: database.prepare('SELECT value FROM facts WHERE name = ?'),
    setFact: database.prepare(
      'INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
    ),
  };
}
