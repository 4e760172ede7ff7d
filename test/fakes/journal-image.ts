/** A journal with something of everything in it, and copies of its files as a crash would leave them. */
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Instant } from '../../shared/core/time.ts';
import { openDatabase, type Database } from '../../shared/platform/sqlite.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import type { JournalEvent, Refusal } from '../../shared/wire/operation.ts';
import { checkAdmissible, planAdmission } from '../../dataplane/core/admission.ts';
import { newAdmission } from '../../dataplane/core/new-admission.ts';
import type { StoredOperation } from '../../dataplane/core/operation-record.ts';
import { journalFiles, type JournalFiles } from '../../dataplane/journal/journal-files.ts';
import { KeyIndex, keyHash } from '../../dataplane/journal/key-index.ts';
import { JournalReader } from '../../dataplane/journal/journal-reader.ts';
import type { Journal } from '../../dataplane/journal/journal.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { TEST_POLICY, activePolicy } from './fake-authority.ts';

const clock = new SystemClock();
const policy = activePolicy(TEST_POLICY);
const EVERYTHING_MAX = 1_000_000;

/** An admission under TEST_POLICY, as the journal takes it. */
export function newEntry(
  key: string,
  attributes: Record<string, unknown> = {},
  now: Instant = clock.now(),
) {
  const request = { principal: 'agent:billing', action: 'notifications.send', attributes };
  const plan = planAdmission({ policy, revoked: null, stalenessMs: 5, now }, request);
  if (plan.kind !== 'decided') throw new Error(plan.kind);
  const admissible = checkAdmissible(plan, request, undefined, now);
  if (admissible.kind !== 'admissible') throw new Error(admissible.code);
  const by = {
    hostId: 'h',
    app: 'demo',
    idempotencyKey: key,
    fingerprint: JSON.stringify(attributes),
  };
  return {
    operationId: `op_${key}`,
    admission: newAdmission(by, request, plan, admissible, now),
    authorityEndsBootMs: Number.MAX_SAFE_INTEGER,
    now,
  };
}

/** What somebody was told of: all of it must be there, or its absence noticed. */
export type Told = {
  readonly events: readonly JournalEvent[];
  readonly operations: readonly StoredOperation[];
  readonly refusals: readonly Refusal[];
  readonly fence: number | null;
};

export function readAll(files: JournalFiles): Told {
  const reader = new JournalReader(files.database);
  const database = openDatabase(files.database, { readOnly: true });
  const keys = new KeyIndex(database);
  try {
    const filter = { app: null, state: null, limit: EVERYTHING_MAX };
    const operations = reader
      .operations({ ...filter, beforeSeq: Number.MAX_SAFE_INTEGER })
      .map(({ operation }) => operation);
    // As callers come to them: by id and by key.
    for (const { operationId, app, idempotencyKey } of operations) {
      if (reader.operation(operationId)?.operationId !== operationId) throw new Error('by id');
      if (!idsOfKey(keys, database, app, idempotencyKey).includes(operationId))
        throw new Error('by key');
    }
    return {
      events: reader.eventsAfter(0, EVERYTHING_MAX),
      operations,
      refusals: reader.refusals(EVERYTHING_MAX),
      fence: reader.fence('orders/1'),
    };
  } finally {
    reader.close();
    database.close();
  }
}

function idsOfKey(keys: KeyIndex, database: Database, app: string, key: string): unknown[] {
  const idOf = database.prepare('SELECT operation_id FROM events WHERE seq = ?');
  return keys.find(keyHash(app, key)).map((seq) => idOf.get(seq)?.['operation_id']);
}

/** About seven entries a round: admissions, attempts, effects, ends, refusals, fences. */
export async function work(journal: Journal, from: number, rounds: number): Promise<void> {
  for (let round = from; round < from + rounds; round += 1) {
    const operationId = `op_k${round}`;
    const apply = { type: 'apply', operationId, app: 'demo' } as const;
    const step = { attempt: 1, name: 'send' } as const;
    await journal.admit(newEntry(`k${round}`, { round, text: 'x'.repeat(300) }));
    await journal.submit({
      ...apply,
      event: { kind: 'start_attempt', supersede: false, key: null, ownership: null },
    });
    await journal.submit({
      ...apply,
      event: { kind: 'begin_effect', ...step, key: null, ownership: null, recheck: null },
    });
    if (round % 2 === 0) {
      await journal.submit({
        ...apply,
        event: { kind: 'settle_effect', ...step, outcome: 'succeeded', result: { id: round } },
      });
      await journal.submit({
        ...apply,
        event: {
          kind: 'report_outcome',
          attempt: 1,
          outcome: 'succeeded',
          result: { round },
          reason: null,
          ownership: null,
        },
      });
    }
    await journal.submit({ type: 'refuse', refusal: newRefusal(round) });
    await journal.submit({ type: 'check_fence', resource: 'orders/1', epoch: round + 1 });
  }
}

export function newRefusal(round: number): Refusal {
  return {
    refusalId: `ref_${round}`,
    app: 'demo',
    idempotencyKey: `r${round}`,
    principal: 'agent:billing',
    action: 'payments.refund',
    resourceId: '',
    reason: 'denied',
    message: 'at most 100',
    policyRevision: 1,
    rule: 'refund',
    basis: 'cached',
    stalenessMs: 5,
    leaseEpoch: null,
    outageId: null,
    atMs: 1,
  };
}

/**
 * Half of it in the database and half in its write-ahead log, copied while the journal is open.
 * `older` is a copy from before the second half.
 */
export async function crashImage(
  directory: string,
): Promise<{ image: JournalFiles; older: JournalFiles; told: Told }> {
  const [live, older, image] = ['live', 'older', 'image'].map((name) =>
    journalFiles(join(directory, name, 'journal')),
  ) as [JournalFiles, JournalFiles, JournalFiles];
  const journal = await openJournal(live.directory, clock);
  await work(journal, 0, 15);
  await journal.acknowledge(40);
  const checkpointing = new DatabaseSync(live.database);
  checkpointing.exec('PRAGMA wal_checkpoint(PASSIVE)');
  checkpointing.close();
  copyJournal(live, older);
  await work(journal, 15, 15);
  copyJournal(live, image);
  await journal.close();
  return { image, older, told: readAll(image) };
}

export function copyJournal(from: JournalFiles, to: JournalFiles): void {
  mkdirSync(to.directory, { recursive: true });
  for (const name of ['database', 'wal', 'head', 'loss', 'identity'] as const)
    if (existsSync(from[name])) copyFileSync(from[name], to[name]);
}
