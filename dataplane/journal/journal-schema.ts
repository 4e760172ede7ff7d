import { sha256Hex } from '../../shared/platform/digest.ts';
import type { Migration } from '../../shared/platform/sqlite.ts';

export const RECORD_DIGEST_VERSION = 2;

/**
 * Of a record together with the entry that it was written with: the pages of SQLite carry no
 * checksum, and neither a changed value nor an older one in its place can have this.
 */
export function recordDigest(seq: number, record: string): string {
  return sha256Hex(`${seq}\n${record}`);
}

/**
 * Append-only: a migration that has shipped is never edited.
 *
 * `events` is the record of what happened, chained by hash; `operations` is the newest state of
 * each, written in the same transaction. `settled_seq` is the entry that ended the operation.
 */
export const JOURNAL_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'first form',
    sql: `
      CREATE TABLE operations (
        seq INTEGER PRIMARY KEY,
        operation_id TEXT NOT NULL UNIQUE,
        app TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        state TEXT NOT NULL,
        on_control_loss TEXT NOT NULL,
        deadline_at_ms INTEGER NOT NULL,
        settled_seq INTEGER,
        record TEXT NOT NULL,
        UNIQUE (app, idempotency_key)
      ) STRICT;
      CREATE INDEX operations_by_state ON operations (state, seq);
      CREATE INDEX operations_by_deadline ON operations (deadline_at_ms) WHERE state IN ('accepted', 'executing', 'paused');
      CREATE INDEX operations_by_control_loss ON operations (seq) WHERE state IN ('accepted', 'executing') AND on_control_loss <> 'finish';
      CREATE INDEX operations_by_settled ON operations (settled_seq) WHERE settled_seq IS NOT NULL;

      CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        operation_id TEXT,
        outage_id TEXT,
        body TEXT NOT NULL,
        hash TEXT NOT NULL
      ) STRICT;
      CREATE INDEX events_of_unknown ON events (seq) WHERE kind = 'unknown';
      CREATE INDEX events_by_operation ON events (operation_id, seq) WHERE operation_id IS NOT NULL;

      CREATE TABLE refusals (
        seq INTEGER PRIMARY KEY,
        refusal_id TEXT NOT NULL UNIQUE,
        reason TEXT NOT NULL,
        record TEXT NOT NULL
      ) STRICT;

      CREATE TABLE fences (resource TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT;

      CREATE TABLE outages (
        outage_id TEXT PRIMARY KEY,
        opened_seq INTEGER NOT NULL UNIQUE,
        closed_seq INTEGER,
        record TEXT NOT NULL
      ) STRICT;

      CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    `,
  },
  {
    version: RECORD_DIGEST_VERSION,
    name: 'digest of each record',
    // NULL for a record that was written before.
    sql: 'ALTER TABLE operations ADD COLUMN digest TEXT;',
  },
];
