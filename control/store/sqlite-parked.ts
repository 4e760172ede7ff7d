import type { ParkedStore, PlacedEvent, RereadWrite } from './parked-store.ts';
import {
  numberOf,
  textOf,
  textOrNull,
  type Row,
  type SqliteConnection,
} from './sqlite-connection.ts';
import { addToTallies } from './sqlite-outages.ts';
import { putOperation, putOutage, putRefusal } from './sqlite-reports.ts';

export function sqliteParkedStore(connection: SqliteConnection): ParkedStore {
  return {
    parkedAfter: (place, limit) =>
      connection.read(() =>
        connection
          .all(
            `SELECT rowid AS place, * FROM events WHERE problem IS NOT NULL AND rowid > ?
             ORDER BY rowid LIMIT ?`,
            [place, limit],
          )
          .map(placedEvent),
      ),
    eventsOf: (operationId, limit) =>
      connection.read(() =>
        connection
          .all(
            `SELECT rowid AS place, * FROM events WHERE operation_id = ?
             ORDER BY host_epoch, seq LIMIT ?`,
            [operationId, limit],
          )
          .map(placedEvent),
      ),
    positions: (hostIds) =>
      connection.read(() => {
        const rows = connection.all(
          `SELECT host_id, acked_host_epoch, acked_seq FROM hosts
           WHERE host_id IN (SELECT value FROM json_each(?))`,
          [JSON.stringify(hostIds)],
        );
        return new Map(
          rows.map((row) => [
            textOf(row, 'host_id'),
            { hostEpoch: numberOf(row, 'acked_host_epoch'), seq: numberOf(row, 'acked_seq') },
          ]),
        );
      }),
    apply: (write) => connection.write(() => apply(connection, write)),
    note: (audit) => connection.write(() => connection.appendAudit([audit])),
  };
}

function apply(connection: SqliteConnection, write: RereadWrite): void {
  for (const [hostId, { hostEpoch, seq }] of write.positions) {
    const now = connection.get('SELECT acked_host_epoch, acked_seq FROM hosts WHERE host_id = ?', [
      hostId,
    ]);
    connection.require(now?.['acked_host_epoch'] === hostEpoch && now['acked_seq'] === seq);
  }
  for (const place of write.places)
    connection.change('UPDATE events SET problem = NULL WHERE rowid = ?', [place]);
  for (const operation of write.operations) putOperation(connection, operation);
  for (const refusal of write.refusals) putRefusal(connection, refusal);
  for (const outage of write.outages) {
    // One that was opened may have been closed by an event that came after it and could be read.
    const isKnown = connection.get('SELECT 1 FROM outages WHERE outage_id = ? AND host_id = ?', [
      outage.outageId,
      outage.hostId,
    ]);
    if (isKnown === undefined || outage.toMs !== null) putOutage(connection, outage);
  }
  for (const [hostId, tallies] of write.tallies) addToTallies(connection, hostId, tallies);
}

function placedEvent(row: Row): PlacedEvent {
  return {
    place: numberOf(row, 'place'),
    hostId: textOf(row, 'host_id'),
    hostEpoch: numberOf(row, 'host_epoch'),
    seq: numberOf(row, 'seq'),
    atMs: numberOf(row, 'at_ms'),
    kind: textOf(row, 'kind'),
    operationId: textOrNull(row, 'operation_id'),
    outageId: textOrNull(row, 'outage_id'),
    bodyText: textOf(row, 'body'),
    previousHash: textOf(row, 'previous_hash'),
    hash: textOf(row, 'hash'),
    isParked: row['problem'] !== null,
  };
}
