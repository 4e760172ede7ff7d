/** Every statement of the writer, prepared once. */
import type { Database } from '../../shared/platform/sqlite.ts';
import { OPERATION_COLUMNS } from './operation-rows.ts';

export type Statements = ReturnType<typeof prepareStatements>;

export function prepareStatements(database: Database) {
  return {
    begin: database.prepare('BEGIN IMMEDIATE'),
    commit: database.prepare('COMMIT'),
    rollback: database.prepare('ROLLBACK'),
    lastEvent: database.prepare('SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1'),
    hashAt: database.prepare('SELECT hash FROM events WHERE seq = ?'),
    countByState: database.prepare(
      'SELECT state, count(*) AS count FROM operations GROUP BY state',
    ),
    updateOperation: database.prepare(
      'UPDATE operations SET state = ?, settled_seq = coalesce(settled_seq, ?), record = ?, digest = ? WHERE seq = ?',
    ),
    bySeq: database.prepare(`SELECT ${OPERATION_COLUMNS} FROM operation_records WHERE seq = ?`),
    byId: database.prepare(
      `SELECT seq, ${OPERATION_COLUMNS} FROM operation_records WHERE operation_id = ?`,
    ),
    insertRefusal: database.prepare('INSERT INTO refusals (seq, reason) VALUES (?, ?)'),
    fact: database.prepare('SELECT value FROM facts WHERE name = ?'),
    setFact: database.prepare(
      'INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
    ),
  };
}
