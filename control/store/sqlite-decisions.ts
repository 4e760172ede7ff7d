/** What hosts have decided, as it was reported: to be decided again under another policy. */
import type { ProjectedOperation } from '../core/operation-projection.ts';
import type { DecisionEvent, UnfinishedOperation } from './control-store.ts';
import { numberOf, textOf, textOrNull, type SqliteConnection } from './sqlite-connection.ts';

/** Sorts after every id. */
const AFTER_ALL = '\u{10ffff}';

/** The condition is that of the index, word for word, or the whole stream is searched. */
export function listDecisions(
  connection: SqliteConnection,
  limit: number,
  after: number | null,
): readonly DecisionEvent[] {
  const rows = connection.all(
    `SELECT rowid AS place, kind, operation_id, received_at_ms, body FROM events
     WHERE kind IN ('admitted', 'refused') AND problem IS NULL
       AND (received_at_ms, rowid) < (
         ifnull((SELECT received_at_ms FROM events WHERE rowid = ?), 9e15), ?)
     ORDER BY received_at_ms DESC, rowid DESC LIMIT ?`,
    [after ?? 0, after ?? Number.MAX_SAFE_INTEGER, limit],
  );
  return rows.map((row) => ({
    place: numberOf(row, 'place'),
    kind: textOf(row, 'kind') as DecisionEvent['kind'],
    operationId: textOrNull(row, 'operation_id'),
    receivedAtMs: numberOf(row, 'received_at_ms'),
    body: JSON.parse(textOf(row, 'body')) as DecisionEvent['body'],
  }));
}

export function listUnfinished(
  connection: SqliteConnection,
  asked: { readonly state: string; readonly limit: number; readonly after: string | null },
): readonly UnfinishedOperation[] {
  const rows = connection.all(
    `SELECT operations.record AS record, (
       SELECT body FROM events WHERE events.operation_id = operations.operation_id
         AND kind = 'admitted' AND problem IS NULL LIMIT 1) AS body
     FROM operations WHERE state = ? AND operation_id < ?
     ORDER BY operation_id DESC LIMIT ?`,
    [asked.state, asked.after ?? AFTER_ALL, asked.limit],
  );
  return rows.map((row) => {
    const body = textOrNull(row, 'body');
    return {
      operation: JSON.parse(textOf(row, 'record')) as ProjectedOperation,
      body: body === null ? null : (JSON.parse(body) as UnfinishedOperation['body']),
    };
  });
}
