import type { Migration } from '../../shared/platform/sqlite.ts';

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
];
