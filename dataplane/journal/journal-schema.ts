import { sha256Hex } from '../../shared/platform/digest.ts';
import type { Migration } from '../../shared/platform/sqlite.ts';

/**
 * Of a record together with the entry that it was written with: the pages of SQLite carry no
 * checksum, and neither a changed value nor an older one in its place can have this.
 */
export function recordDigest(seq: number, record: string): string {
  return sha256Hex(`${seq}\n${record}`);
}

/** Of a fence: the entries that raised it may be gone, and a lower one would let a stale owner in. */
export function fenceDigest(resource: string, epoch: number): string {
  return sha256Hex(`${resource}\n${epoch}`);
}

/** Of a register, with the entry that wrote it: that entry has a hash of the value alone. */
export function registerDigest(row: {
  readonly app: string;
  readonly key: string;
  readonly resource: string;
  readonly epoch: number;
  readonly version: number;
  readonly value: string;
}): string {
  const { app, key, resource, epoch, version, value } = row;
  return sha256Hex([app, key, resource, epoch, version, value].join('\n'));
}

/** The newest order about the resumption of paused work. */
export const RESUME_ORDER_FACT = 'resume_order';

/**
 * Append-only: a migration that has shipped is never edited.
 *
 * `events` is the record of what happened, chained by hash. `operations` has one row for each
 * operation, under the `seq` of the entry that admitted it: where it stands, and what it is found
 * by. Its `record` is NULL until something befalls it; until then that entry says all.
 * `settled_seq` is the entry that ended it. `body_end` names what follows `body` in the text of the
 * entry (`body-ends.ts`). `key_runs` and `key_chunks` are of the index of keys
 * (`key-index.ts`). `kept_entries` and `kept_operations` are of the retention (`journal-pruner.ts`).
 * `quotas` are the windows that were counted last (`quota-ledger.ts`), `outage_tallies` what was
 * counted of each outage (`outage-ledger.ts`). The indexes on `record` have only what is unknown
 * (`reconciliation-reads.ts`). `action` is what accepted work
 * is claimed by; `claims` says what each claim took (`claim-table.ts`).
 */
export const JOURNAL_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'first form',
    sql: `
      CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        operation_id TEXT,
        outage_id TEXT,
        body TEXT NOT NULL,
        body_end INTEGER,
        hash TEXT NOT NULL
      ) STRICT;
      CREATE TABLE body_ends (first_seq INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
      CREATE INDEX events_by_operation ON events (operation_id, seq) WHERE operation_id IS NOT NULL;
      CREATE INDEX events_of_unknown ON events (seq) WHERE kind = 'unknown';

      CREATE TABLE operations (
        seq INTEGER PRIMARY KEY,
        app TEXT NOT NULL,
        key_hash INTEGER NOT NULL,
        state TEXT NOT NULL,
        on_control_loss TEXT NOT NULL,
        deadline_at_ms INTEGER NOT NULL,
        settled_seq INTEGER,
        record TEXT,
        digest TEXT
      ) STRICT;
      CREATE INDEX operations_by_state ON operations (state, seq);
      CREATE INDEX operations_by_deadline ON operations (deadline_at_ms) WHERE state IN ('accepted', 'executing', 'paused');
      CREATE INDEX operations_by_control_loss ON operations (seq) WHERE state IN ('accepted', 'executing') AND on_control_loss <> 'finish';
      CREATE INDEX operations_by_settled ON operations (settled_seq) WHERE settled_seq IS NOT NULL;

      CREATE VIEW operation_records AS
        SELECT operations.seq AS seq, operation_id, app, key_hash, state, on_control_loss,
          deadline_at_ms, settled_seq, record, digest, at_ms, outage_id,
          body || coalesce((SELECT text FROM body_ends WHERE first_seq = body_end), '') AS admission
        FROM operations JOIN events ON events.seq = operations.seq;

      CREATE TABLE key_runs (
        run INTEGER PRIMARY KEY,
        last_seq INTEGER NOT NULL,
        filter BLOB NOT NULL,
        firsts BLOB NOT NULL,
        digest TEXT NOT NULL
      ) STRICT;
      CREATE TABLE key_chunks (
        chunk INTEGER PRIMARY KEY,
        entries BLOB NOT NULL,
        digest TEXT NOT NULL
      ) STRICT;

      CREATE TABLE refusals (
        seq INTEGER PRIMARY KEY,
        reason TEXT NOT NULL
      ) STRICT;

      CREATE TABLE fences (
        resource TEXT PRIMARY KEY,
        epoch INTEGER NOT NULL,
        digest TEXT NOT NULL
      ) STRICT;

      CREATE TABLE outages (
        outage_id TEXT PRIMARY KEY,
        opened_seq INTEGER NOT NULL UNIQUE,
        closed_seq INTEGER,
        record TEXT NOT NULL
      ) STRICT;

      CREATE TABLE kept_entries (seq INTEGER PRIMARY KEY, previous_hash TEXT NOT NULL) STRICT;
      CREATE TABLE kept_operations (
        seq INTEGER PRIMARY KEY,
        review_at_ms INTEGER NOT NULL
      ) STRICT;
      CREATE INDEX kept_operations_by_review ON kept_operations (review_at_ms);

      CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    `,
  },
  {
    version: 2,
    name: 'quotas',
    sql: `
      CREATE TABLE quotas (
        rule TEXT NOT NULL,
        per TEXT NOT NULL,
        key TEXT NOT NULL,
        scope TEXT NOT NULL,
        number INTEGER NOT NULL,
        length_ms INTEGER NOT NULL,
        used INTEGER NOT NULL,
        ends_wall_ms INTEGER NOT NULL,
        ends_boot_ms INTEGER NOT NULL,
        ends_boot_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (rule, per, key, scope)
      ) STRICT, WITHOUT ROWID;
    `,
  },
  {
    version: 3,
    name: 'registers',
    sql: `
      CREATE TABLE registers (
        app TEXT NOT NULL,
        key TEXT NOT NULL,
        resource TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        version INTEGER NOT NULL,
        value TEXT NOT NULL,
        updated_at_ms INTEGER NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (app, key)
      ) STRICT, WITHOUT ROWID;
    `,
  },
  {
    version: 4,
    name: 'reconciliations',
    sql: `
      CREATE INDEX operations_by_next_try
        ON operations (json_extract(record, '$.reconciliation.nextTryAtMs'))
        WHERE state = 'unknown';
      CREATE INDEX operations_by_compensation ON operations (seq)
        WHERE state = 'unknown'
          AND json_extract(record, '$.reconciliation.compensatedBy') IS NOT NULL;
      CREATE INDEX operations_by_strategy
        ON operations (
          coalesce(json_extract(record, '$.reconciliation.strategy'), 'human'),
          coalesce(json_extract(record, '$.reconciliation.sinceMs'), json_extract(record, '$.updatedAtMs'))
        )
        WHERE state = 'unknown';
    `,
  },
  {
    // Also so that no earlier build opens it: it would take what waits for what is accepted.
    version: 5,
    name: 'operations that wait for an approval',
    sql: `
      DROP INDEX operations_by_deadline;
      CREATE INDEX operations_by_deadline ON operations (deadline_at_ms)
        WHERE state IN ('awaiting_approval', 'accepted', 'executing', 'paused');
    `,
  },
  {
    version: 6,
    name: 'outage tallies',
    sql: `
      CREATE TABLE outage_tallies (
        outage_id TEXT PRIMARY KEY,
        first_unfinished_seq INTEGER NOT NULL,
        unfinished TEXT,
        up_to_seq INTEGER NOT NULL,
        tally TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX events_of_stops ON events (seq) WHERE kind IN ('paused', 'cancelled', 'expired');
    `,
  },
  {
    version: 7,
    name: 'claims',
    sql: `
      ALTER TABLE operations ADD COLUMN action TEXT;
      UPDATE operations SET action =
        (SELECT json_extract(admission, '$.action') FROM operation_records
          WHERE operation_records.seq = operations.seq)
        WHERE state IN ('accepted', 'executing', 'paused');
      CREATE INDEX operations_claimable ON operations (app, action, deadline_at_ms) WHERE state = 'accepted';
      CREATE TABLE claims (
        claim INTEGER PRIMARY KEY AUTOINCREMENT,
        app TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        operation_ids TEXT NOT NULL,
        UNIQUE (app, key)
      ) STRICT;
    `,
  },
  {
    version: 8,
    name: 'paused by deadline',
    sql: `
      CREATE INDEX operations_paused_by_deadline ON operations (deadline_at_ms, seq) WHERE state = 'paused';
    `,
  },
];
