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
 * J7  What is forgotten (`journal-pruner.ts`) is by what control held before the batch: the head
 *     file is never behind where the journal begins.
 */
import { LRUCache } from 'lru-cache';
import { checkFence } from '../../shared/core/lease.ts';
import type { Instant } from '../../shared/core/time.ts';
import { entryHash } from '../../shared/platform/entry-hash.ts';
import { migrate, openDatabase, type Database } from '../../shared/platform/sqlite.ts';
import { failpoint } from '../../shared/platform/failpoints.ts';
import { FIRST_PREVIOUS_HASH, type EventKind, type Outage } from '../../shared/wire/operation.ts';
import type { AdmissionText } from '../core/admission-text.ts';
import type { ChainPlace, JournalMemory } from '../core/journal-verdict.ts';
import { applyLifecycleEvent } from '../core/operation-lifecycle.ts';
import { ownedAsOf } from '../core/operation-steps.ts';
import { SETTLED_STATES, hasEnded, type StoredOperation } from '../core/operation-record.ts';
import { AdmissionRows } from './admission-rows.ts';
import { BodyEnds } from './body-ends.ts';
import { ClaimTable } from './claim-table.ts';
import { tooLate } from '../core/late-step.ts';
import { decideRegisterWrite } from '../core/register.ts';
import type { BatchAnswer, JournalAnswer, JournalCommand } from './journal-command.ts';
import { FenceTable } from './fence-table.ts';
import { HeadFile } from './head-file.ts';
import type { JournalFiles } from './journal-files.ts';
import { JournalPruner } from './journal-pruner.ts';
import { OutageLedger } from './outage-ledger.ts';
import { QuotaLedger } from './quota-ledger.ts';
import { JOURNAL_MIGRATIONS, RESUME_ORDER_FACT, recordDigest } from './journal-schema.ts';
import { KeyIndex, keyHash } from './key-index.ts';
import { prepareStatements, type Statements } from './journal-statements.ts';
import { operationOfRow } from './operation-rows.ts';
import { RegisterTable, registerEntry } from './register-table.ts';
import { cannotApply, isStorageError } from './storage-error.ts';

const HOT_OPERATIONS_MAX = 2_000;
/** SQLite cuts its write-ahead log to this when it begins it anew: one large batch does not stay. */
const WAL_KEPT_BYTES = 16 * 1024 * 1024;

type HotOperation = { readonly seq: number; readonly operation: StoredOperation };

export type EngineClock = { now(): Instant };

export class JournalEngine {
  readonly #database: Database;
  readonly #clock: EngineClock;
  readonly #statements: Statements;
  readonly #counts = new Map<string, number>();
  /** As they are in the transaction; emptied where it is undone. Nobody else writes. */
  readonly #hot = new LRUCache<string, HotOperation>({ max: HOT_OPERATIONS_MAX });
  readonly #fences: FenceTable;
  readonly #rows: AdmissionRows;
  readonly #keys: KeyIndex;
  readonly #ends: BodyEnds;
  readonly #registers: RegisterTable;
  readonly #claims: ClaimTable;
  readonly #pruner: JournalPruner;
  readonly #quotas: QuotaLedger;
  readonly #outages: OutageLedger;
  #seq: number;
  #hash: string;
  readonly #headFile: HeadFile;
  #acked: ChainPlace;
  /** J7. */
  #ackedBefore: ChainPlace;
  #failed = false;

  constructor(files: Pick<JournalFiles, 'database' | 'head'>, clock: EngineClock) {
    this.#database = openDatabase(files.database);
    this.#database.exec(`PRAGMA journal_size_limit=${WAL_KEPT_BYTES}`);
    this.#clock = clock;
    migrate(this.#database, JOURNAL_MIGRATIONS);
    this.#statements = prepareStatements(this.#database);
    this.#rows = new AdmissionRows(this.#database);
    this.#keys = new KeyIndex(this.#database);
    this.#ends = new BodyEnds(this.#database);
    this.#pruner = new JournalPruner(this.#database, { keys: this.#keys, ends: this.#ends });
    this.#fences = new FenceTable(this.#database);
    this.#quotas = new QuotaLedger(this.#database);
    this.#outages = new OutageLedger(this.#database);
    this.#registers = new RegisterTable(this.#database);
    this.#claims = new ClaimTable(this.#database);
    const last = this.#statements.lastEvent.get() as { seq: number; hash: string } | undefined;
    this.#seq = last?.seq ?? 0;
    this.#hash = last?.hash ?? FIRST_PREVIOUS_HASH;
    const acked = this.#statements.fact.get('acked_seq') as { value: string } | undefined;
    this.#acked = this.#placeOf(Number(acked?.value ?? 0));
    this.#ackedBefore = this.#acked;
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
      ...this.#outages.snapshot(),
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
    this.#ackedBefore = this.#acked;
    failpoint('journal.before_begin');
    this.#statements.begin.run();
    let answers: JournalAnswer[];
    try {
      answers = commands.map((command) => this.#apply(command));
      this.#rows.write();
      this.#keys.writeFullRun();
      this.#outages.flushIfDue(this.#clock.now().bootMs);
    } catch (error) {
      if (isStorageError(error)) throw error;
      this.#statements.rollback.run();
      this.#rows.drop();
      this.#hot.clear();
      this.#fences.forget();
      this.#keys.load();
      this.#ends.forget();
      this.#registers.load();
      this.#outages.load();
      this.#pruner.load();
      this.#seq = before.seq;
      this.#hash = before.hash;
      this.#acked = before.acked;
      this.#counts.clear();
      for (const [state, count] of before.counts) this.#counts.set(state, count);
      throw error;
    }
    const startedMs = this.#clock.now().bootMs;
    failpoint('journal.before_commit');
    this.#statements.commit.run();
    failpoint('journal.after_commit');
    const endedMs = this.#clock.now().bootMs;
    try {
      this.#headFile.write(this.#memory(), endedMs);
    } catch (error) {
      // Committed already: never to be taken again.
      this.#failed = true;
      throw error;
    }
    failpoint('journal.after_head');
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
    const head = { seq: this.#seq, hash: this.#hash };
    return { head, acked: this.#acked, pruned: this.#pruner.anchor };
  }

  #placeOf(seq: number): ChainPlace {
    const row = this.#statements.hashAt.get(seq) as { hash: string } | undefined;
    return row === undefined ? { seq: 0, hash: FIRST_PREVIOUS_HASH } : { seq, hash: row.hash };
  }

  #apply(command: JournalCommand): JournalAnswer {
    // What it reads is then as it is in the transaction.
    if (command.type !== 'admit') this.#rows.write();
    switch (command.type) {
      case 'admit':
        return this.#admit(command);
      case 'find_key': {
        const { app, idempotencyKey } = command;
        const found = this.#operationByKey(keyHash(app, idempotencyKey), app, idempotencyKey);
        return { type: 'found', operation: found ?? null };
      }
      case 'refuse': {
        const { refusal } = command;
        const seq = this.#append('refused', null, JSON.stringify({ refusal }), command);
        this.#statements.insertRefusal.run(seq, refusal.reason);
        this.#outages.noteRefusal(refusal, seq);
        return { type: 'recorded' };
      }
      case 'apply':
        return this.#applyEvent(command);
      case 'claim':
        return this.#claim(command);
      case 'check_fence':
        return this.#checkFence(command);
      case 'write_register':
        return this.#writeRegister(command);
      case 'record_outage':
        return { type: 'outage_recorded', outage: this.#recordOutage(command) };
      case 'order_resume':
        this.#append(command.kind, null, JSON.stringify(command.fact), command);
        this.#statements.setFact.run(RESUME_ORDER_FACT, JSON.stringify(command.fact));
        return { type: 'recorded' };
      case 'record_policy':
        this.#append(command.kind, null, JSON.stringify(command.fact), command);
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
      case 'prune':
        return this.#prune(command);
    }
  }

  /** J7. */
  #prune({ limits, now }: JournalCommand & { type: 'prune' }): JournalAnswer {
    // What is counted again after a restart is still there then.
    this.#outages.flush();
    const step = this.#pruner.step(limits, { ackedSeq: this.#ackedBefore.seq, now });
    this.#quotas.forget(now);
    for (const { operationId, state } of step.removed) {
      this.#hot.delete(operationId);
      this.#count(state, -1);
    }
    const operationIds = step.removed.map(({ operationId }) => operationId);
    const { more, usedBytes, isStuckOverSize } = step;
    const { seq: prunedSeq } = this.#pruner.anchor;
    return { type: 'pruned', operationIds, prunedSeq, more, usedBytes, isStuckOverSize };
  }

  /** I2: the key is looked up in the transaction that would take it. */
  #admit(command: JournalCommand & { type: 'admit' }): JournalAnswer {
    const { app, idempotencyKey, fingerprint, leaseResource } = command;
    const key = keyHash(app, idempotencyKey);
    const known = this.#operationByKey(key, app, idempotencyKey);
    if (known !== undefined) {
      if (known.fingerprint === fingerprint) return { type: 'admitted', recorded: known };
      return {
        type: 'declined',
        code: 'idempotency_key_reused',
        detail: `Idempotency-Key ${idempotencyKey} names operation ${known.operationId} with another payload: use a new key for a new operation`,
        operationId: known.operationId,
      };
    }
    if (command.noRoom !== undefined)
      return { type: 'declined', code: 'journal_full', detail: command.noRoom };
    // Once more, at the last moment: the request may have waited in the queue past what allowed it.
    if (this.#clock.now().bootMs > command.authorityEndsBootMs) {
      const [code, what] =
        leaseResource === null
          ? (['policy_expired', 'this operation'] as const)
          : (['lease_expired', leaseResource] as const);
      const detail = `the authority for ${what} ended while it waited for the journal: try again`;
      return { type: 'declined', code, detail };
    }
    const seq = this.#append('admitted', command.operationId, command.admission, command);
    if (leaseResource !== null && command.leaseEpoch !== null)
      this.#fences.raise(leaseResource, command.leaseEpoch);
    const { state, onControlLoss, deadlineAtMs, action } = command;
    this.#rows.addOperation([seq, app, key, state, onControlLoss, deadlineAtMs, action]);
    this.#keys.add(key, seq);
    this.#outages.noteAdmission(seq);
    if (command.quota !== undefined) this.#quotas.count(command.quota, command.now);
    this.#count(state, 1);
    return { type: 'admitted', recorded: null };
  }

  #operationByKey(key: number, app: string, idempotencyKey: string): StoredOperation | undefined {
    for (const seq of this.#keys.find(key)) {
      if (this.#rows.has(seq)) this.#rows.write();
      const row = this.#statements.bySeq.get(seq);
      const operation = row === undefined ? undefined : operationOfRow(row);
      if (operation?.app === app && operation.idempotencyKey === idempotencyKey) return operation;
    }
    return undefined;
  }

  #find(operationId: string): HotOperation | undefined {
    const hot = this.#hot.get(operationId);
    if (hot !== undefined) return hot;
    const row = this.#statements.byId.get(operationId);
    return row && { seq: Number(row['seq']), operation: operationOfRow(row) };
  }

  /** J2. */
  #applyEvent(command: JournalCommand & { type: 'apply' }): JournalAnswer {
    const found = this.#find(command.operationId);
    if (found === undefined || (command.app !== null && found.operation.app !== command.app)) {
      return {
        type: 'declined',
        code: 'operation_not_found',
        detail: `there is no operation ${command.operationId} of this app`,
      };
    }
    const { operation } = found;
    // At the last moment, as for an admission.
    const late = tooLate(operation, command.event, {
      bootMs: this.#clock.now().bootMs,
      highestEpoch: (resource) => this.#fences.highest(resource),
    });
    if (late !== null) return { type: 'declined', code: late.code, detail: late.detail };
    const { leaseResource } = operation;
    const event = ownedAsOf(command.event, {
      bootMs: this.#clock.now().bootMs,
      highestEpoch: leaseResource === null ? null : this.#fences.highest(leaseResource),
    });
    const result = applyLifecycleEvent(operation, event, command.now);
    if (!result.ok) return { type: 'declined', code: result.code, detail: result.detail };
    if (result.note !== null) {
      const next = result.operation;
      const { kind, body } = result.note;
      const seq = this.#append(kind, next.operationId, JSON.stringify(body), command);
      const ended = SETTLED_STATES.has(next.state) && !SETTLED_STATES.has(operation.state);
      const record = JSON.stringify(next);
      this.#statements.updateOperation.run(
        next.state,
        ended ? seq : null,
        record,
        recordDigest(seq, record),
        found.seq,
      );
      this.#outages.noteChange({
        kind,
        seq,
        operationId: next.operationId,
        admittedSeq: found.seq,
      });
      this.#hot.set(next.operationId, { seq: found.seq, operation: next });
      if (next.leaseResource !== null && next.attemptLeaseEpoch !== null)
        this.#fences.raise(next.leaseResource, next.attemptLeaseEpoch);
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
      ended: hasEnded(result.operation) && !hasEnded(operation),
    };
  }

  /** J2: what another claim of the same batch took is executing by then. */
  #claim(command: JournalCommand & { type: 'claim' }): JournalAnswer {
    const { app, key, now, outageId } = command;
    const rest = { type: 'apply', app, now, outageId } as const;
    return this.#claims.claim(command, {
      find: (operationId) => this.#find(operationId)?.operation,
      begin: ({ operationId, ownership }) => {
        const event = { kind: 'start_attempt', supersede: false, key, ownership } as const;
        return this.#applyEvent({ ...rest, operationId, event });
      },
    });
  }

  #checkFence(command: JournalCommand & { type: 'check_fence' }): JournalAnswer {
    const verdict = checkFence(this.#fences.highest(command.resource), command.epoch);
    if (verdict.accepted && verdict.advances) {
      const { resource, epoch } = command;
      this.#append('fence_advanced', null, JSON.stringify({ resource, epoch }), command);
      this.#fences.set(resource, epoch);
    }
    return { type: 'fence', accepted: verdict.accepted, highestEpoch: verdict.highestEpoch };
  }

  /** I6: the token is compared, and remembered, in the transaction that writes. */
  #writeRegister(command: JournalCommand & { type: 'write_register' }): JournalAnswer {
    const { resource, epoch, valueText, now } = command;
    const verdict = decideRegisterWrite(command, {
      register: this.#registers.find(command),
      count: this.#registers.count,
      highestEpoch: this.#fences.highest(resource),
    });
    if (!verdict.ok) return { type: 'declined', code: verdict.code, detail: verdict.detail };
    const kind = valueText === null ? 'register_deleted' : 'register_written';
    const version = this.#append(kind, null, registerEntry(command), command);
    this.#registers.write(command, { version, atMs: now.wallMs });
    this.#fences.raise(resource, epoch);
    return { type: 'register', version, updatedAtMs: now.wallMs };
  }

  #recordOutage(command: JournalCommand & { type: 'record_outage' }): Outage {
    const entry = { kind: command.kind, seq: this.#seq + 1 };
    const outage = this.#outages.recorded(command.outage, entry);
    const { outageId } = outage;
    this.#append(entry.kind, null, JSON.stringify({ outage }), { ...command, outageId });
    const unfinished = ['awaiting_approval', 'accepted', 'executing', 'paused'];
    this.#outages.record(outage, entry, () =>
      unfinished.reduce((sum, state) => sum + (this.#counts.get(state) ?? 0), 0),
    );
    return outage;
  }

  /** J3. `text` is what `JSON.stringify` makes: the hash is over all of it. */
  #append(
    kind: EventKind,
    operationId: string | null,
    text: string | AdmissionText,
    { now, outageId }: { now: Instant; outageId: string | null },
  ): number {
    const seq = this.#seq + 1;
    const atMs = now.wallMs;
    const { own, end } = typeof text === 'string' ? { own: text, end: '' } : text;
    const bodyText = own + end;
    this.#hash = entryHash(this.#hash, { seq, atMs, kind, operationId, outageId, bodyText });
    this.#seq = seq;
    const endName = end === '' ? null : this.#ends.nameOf(end, seq);
    this.#rows.addEvent([seq, atMs, kind, operationId, outageId, own, endName, this.#hash]);
    if (kind !== 'admitted') this.#rows.write();
    return seq;
  }

  #count(state: string, change: number): void {
    this.#counts.set(state, (this.#counts.get(state) ?? 0) + change);
  }
}
