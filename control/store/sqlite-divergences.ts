import type { Divergence } from '../../shared/wire/divergences.ts';
import type { DecisionRow, DivergenceFilter, DivergenceStore } from './divergence-store.ts';
import {
  numberOf,
  textOf,
  textOrNull,
  toPage,
  type Row,
  type SqliteConnection,
} from './sqlite-connection.ts';

/** Of receipt marks: at one a minute, two months. */
const MARKS_MAX = 100_000;

export function sqliteDivergenceStore(connection: SqliteConnection): DivergenceStore {
  return {
    progress: () =>
      connection.read(() => ({
        place: placeOf(connection),
        newest: Number(connection.get('SELECT max(rowid) AS newest FROM events')?.['newest'] ?? 0),
      })),
    decisionsAfter: (place, { window, limit }) =>
      connection.read(() => {
        const newest = Number(
          connection.get('SELECT max(rowid) AS newest FROM events')?.['newest'] ?? 0,
        );
        const end = Math.min(newest, place + window);
        const rows = connection.all(
          `SELECT rowid AS place, * FROM events WHERE rowid > ? AND rowid <= ?
             AND kind IN ('admitted', 'refused') AND problem IS NULL
           ORDER BY rowid LIMIT ?`,
          [place, end, limit],
        );
        const last = rows.at(-1);
        const isCut = rows.length === limit && last !== undefined;
        return { rows: rows.map(readDecision), toPlace: isCut ? numberOf(last, 'place') : end };
      }),
    record: ({ fromPlace, toPlace, found, mark }) =>
      connection.write(() => {
        connection.changeOne('UPDATE reevaluation SET place = ? WHERE place = ?', [
          toPlace,
          fromPlace,
        ]);
        for (const divergence of found) writeFound(connection, divergence);
        if (mark === null) return;
        connection.change('INSERT OR REPLACE INTO reevaluation_marks VALUES (?, ?)', [
          mark.atMs,
          mark.place,
        ]);
        connection.change(
          `DELETE FROM reevaluation_marks WHERE at_ms <= (
             SELECT at_ms FROM reevaluation_marks ORDER BY at_ms DESC LIMIT 1 OFFSET ?)`,
          [MARKS_MAX],
        );
      }),
    async rewindTo(atMs) {
      await connection.write(() => {
        connection.change(
          `UPDATE reevaluation SET place = min(place, ifnull(
             (SELECT place FROM reevaluation_marks WHERE at_ms <= ? ORDER BY at_ms DESC LIMIT 1), 0))`,
          [atMs],
        );
      });
    },
    list: (filter, page) => connection.read(() => listDivergences(connection, filter, page)),
    fetch: (divergenceId) =>
      connection.read(() => {
        const row = connection.get('SELECT record FROM divergences WHERE divergence_id = ?', [
          divergenceId,
        ]);
        return row === undefined ? null : readDivergence(row);
      }),
    settle: ({ record, replaces, audit }) =>
      connection.write(() => {
        connection.changeOne(
          `UPDATE divergences SET state = ?, stop = ?, record = ?
           WHERE divergence_id = ? AND record = ?`,
          [
            record.state,
            record.resolution?.stop?.state ?? null,
            JSON.stringify(record),
            record.divergenceId,
            JSON.stringify(replaces),
          ],
        );
        connection.appendAudit(audit);
      }),
    countByState: () =>
      connection.read(() => {
        const rows = connection.all(
          'SELECT state, count(*) AS held FROM divergences GROUP BY state',
        );
        return Object.fromEntries(rows.map((row) => [textOf(row, 'state'), numberOf(row, 'held')]));
      }),
    pendingStops: (limit) =>
      connection.read(() =>
        connection
          .all(`SELECT record FROM divergences WHERE stop = 'pending' ORDER BY place LIMIT ?`, [
            limit,
          ])
          .map(readDivergence),
      ),
  };
}

function placeOf(connection: SqliteConnection): number {
  return Number(connection.get('SELECT place FROM reevaluation')?.['place'] ?? 0);
}

function writeFound(connection: SqliteConnection, divergence: Divergence): void {
  const { divergenceId, hostId, outageId, state } = divergence;
  connection.change(
    `INSERT INTO divergences VALUES (NULL, ?, ?, ?, ?, NULL, ?)
     ON CONFLICT (divergence_id) DO UPDATE SET record = excluded.record
     WHERE state = 'open' AND host_id = excluded.host_id`,
    [divergenceId, hostId, outageId, state, JSON.stringify(divergence)],
  );
}

function listDivergences(
  connection: SqliteConnection,
  { hostId, outageId, state }: DivergenceFilter,
  page: Parameters<DivergenceStore['list']>[1],
) {
  const conditions = ['place < ?'];
  const values: string[] = [];
  for (const [column, value] of [
    ['host_id', hostId],
    ['outage_id', outageId],
    ['state', state],
  ] as const) {
    if (value === null) continue;
    conditions.push(`${column} = ?`);
    values.push(value);
  }
  return toPage(
    page,
    (limit, after) =>
      connection.all(
        `SELECT place, record FROM divergences WHERE ${conditions.join(' AND ')}
         ORDER BY place DESC LIMIT ?`,
        [after === null ? Number.MAX_SAFE_INTEGER : Number(after), ...values, limit],
      ),
    readDivergence,
    (row) => String(numberOf(row, 'place')),
  );
}

function readDivergence(row: Row): Divergence {
  return JSON.parse(textOf(row, 'record')) as Divergence;
}

function readDecision(row: Row): DecisionRow {
  return {
    kind: textOf(row, 'kind') as DecisionRow['kind'],
    hostId: textOf(row, 'host_id'),
    hostEpoch: numberOf(row, 'host_epoch'),
    seq: numberOf(row, 'seq'),
    atMs: numberOf(row, 'at_ms'),
    operationId: textOrNull(row, 'operation_id'),
    outageId: textOrNull(row, 'outage_id'),
    body: JSON.parse(textOf(row, 'body')) as DecisionRow['body'],
  };
}
