import {
  UNREADABLE_TEXT_MAX,
  type ReportedOutage,
  type ReportedRefusal,
  type UnreadableEvent,
} from '../../shared/wire/control-api.ts';
import type { JournalEvent } from '../../shared/wire/operation.ts';
import type { ProjectedOperation } from '../core/operation-projection.ts';
import type { OperationFilter, PageRequest, ReportStore, ReportWrite } from './control-store.ts';
import {
  numberOf,
  textOf,
  textOrNull,
  toPage,
  type Row,
  type SqliteConnection,
} from './sqlite-connection.ts';
import { addToTallies } from './sqlite-outages.ts';
import { writeApproval } from './sqlite-approvals.ts';
import { listDecisions, listUnfinished } from './sqlite-decisions.ts';

export function sqliteReportStore(connection: SqliteConnection): ReportStore {
  return {
    operations: (ids) =>
      connection.read(() => {
        const rows = connection.all(
          'SELECT record FROM operations WHERE operation_id IN (SELECT value FROM json_each(?))',
          [JSON.stringify(ids)],
        );
        const operations = rows.map((row) => readRecord<ProjectedOperation>(row));
        return new Map(operations.map((operation) => [operation.operationId, operation]));
      }),
    hashesOf: ({ hostId, hostEpoch }, { fromSeq, toSeq }) =>
      connection.read(() => {
        const rows = connection.all(
          `SELECT seq, hash FROM events
           WHERE host_id = ? AND host_epoch = ? AND seq BETWEEN ? AND ?`,
          [hostId, hostEpoch, fromSeq, toSeq],
        );
        return new Map(rows.map((row) => [numberOf(row, 'seq'), textOf(row, 'hash')]));
      }),
    append: (write) => connection.write(() => appendReport(connection, write)),
    recordRefused: (audit) => connection.write(() => connection.appendAudit([audit])),
    listOperations: (filter, page) =>
      connection.read(() => listOperations(connection, filter, page)),
    eventsOf: (operationId, limit) =>
      connection.read(() =>
        connection
          .all(
            `SELECT * FROM events WHERE operation_id = ? AND problem IS NULL
             ORDER BY host_epoch, seq LIMIT ?`,
            [operationId, limit],
          )
          .map(readEvent),
      ),
    listRefusals: (page) => connection.read(() => listRefusals(connection, page)),
    listUnreadable: (page) => connection.read(() => listUnreadable(connection, page)),
    countByState: () =>
      connection.read(() => {
        const rows = connection.all(
          'SELECT state, count(*) AS held FROM operations GROUP BY state',
        );
        return Object.fromEntries(rows.map((row) => [textOf(row, 'state'), numberOf(row, 'held')]));
      }),
    countUnreadable: () =>
      connection.read(() =>
        Number(
          connection.get('SELECT count(*) AS held FROM events WHERE problem IS NOT NULL')?.['held'],
        ),
      ),
    decisionEvents: (limit, after) =>
      connection.read(() => listDecisions(connection, limit, after)),
    unfinished: (state, limit, after) =>
      connection.read(() => listUnfinished(connection, { state, limit, after })),
  };
}

function appendReport(connection: SqliteConnection, write: ReportWrite): void {
  const { hostId, hostEpoch, follows, position } = write;
  connection.changeOne(
    `UPDATE hosts SET acked_host_epoch = ?, acked_seq = ?, acked_hash = ?,
       journal_seq = max(journal_seq, ?)
     WHERE host_id = ? AND host_epoch = ? AND acked_host_epoch = ? AND acked_seq = ?`,
    [
      position.hostEpoch,
      position.seq,
      position.hash,
      position.seq,
      hostId,
      hostEpoch,
      follows.hostEpoch,
      follows.seq,
    ],
  );
  for (const { event, problem } of write.events) {
    connection.change('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', [
      hostId,
      hostEpoch,
      event.seq,
      event.kind,
      event.atMs,
      event.operationId,
      event.outageId,
      event.bodyText,
      event.previousHash,
      event.hash,
      write.receivedAtMs,
      problem,
    ]);
  }
  for (const operation of write.operations) putOperation(connection, operation);
  for (const refusal of write.refusals) putRefusal(connection, { ...refusal, hostId });
  for (const outage of write.outages) putOutage(connection, { ...outage, hostId });
  addToTallies(connection, hostId, write.tallies);
  for (const approval of write.approvals ?? []) writeApproval(connection, approval);
  connection.appendAudit(write.audit);
}

export function putOperation(connection: SqliteConnection, operation: ProjectedOperation): void {
  const { operationId, hostId, state } = operation;
  connection.change(
    `INSERT INTO operations VALUES (?, ?, ?, ?) ON CONFLICT (operation_id)
     DO UPDATE SET state = excluded.state, record = excluded.record`,
    [operationId, hostId, state, JSON.stringify(operation)],
  );
}

export function putRefusal(connection: SqliteConnection, refusal: ReportedRefusal): void {
  const { refusalId, hostId } = refusal;
  connection.change('INSERT INTO refusals VALUES (?, ?, ?) ON CONFLICT DO NOTHING', [
    refusalId,
    hostId,
    JSON.stringify(refusal),
  ]);
}

export function putOutage(connection: SqliteConnection, outage: ReportedOutage): void {
  connection.change(
    `INSERT INTO outages VALUES (?, ?, ?) ON CONFLICT (outage_id, host_id)
     DO UPDATE SET record = excluded.record`,
    [outage.outageId, outage.hostId, JSON.stringify(outage)],
  );
}

/**
 * Ids begin with the time of their making, so their order is near enough the order of admission.
 */
function listOperations(connection: SqliteConnection, filter: OperationFilter, page: PageRequest) {
  const conditions = ['operation_id < ?'];
  const values: string[] = [];
  if (filter.hostId !== null) {
    conditions.push('host_id = ?');
    values.push(filter.hostId);
  }
  if (filter.state !== null) {
    conditions.push('state = ?');
    values.push(filter.state);
  }
  return toPage(
    page,
    (limit, after) =>
      connection.all(
        `SELECT operation_id, record FROM operations WHERE ${conditions.join(' AND ')}
         ORDER BY operation_id DESC LIMIT ?`,
        [after ?? AFTER_ALL, ...values, limit],
      ),
    (row) => readRecord<ProjectedOperation>(row),
    (row) => textOf(row, 'operation_id'),
  );
}

/** Sorts after every id. */
const AFTER_ALL = '\u{10ffff}';

function listRefusals(connection: SqliteConnection, page: PageRequest) {
  return toPage(
    page,
    (limit, after) => {
      const [lastId = AFTER_ALL, lastHost = AFTER_ALL] = after?.split(' ') ?? [];
      return connection.all(
        `SELECT * FROM refusals WHERE (refusal_id, host_id) < (?, ?)
         ORDER BY refusal_id DESC, host_id DESC LIMIT ?`,
        [lastId, lastHost, limit],
      );
    },
    (row) => readRecord<ReportedRefusal>(row),
    (row) => `${textOf(row, 'refusal_id')} ${textOf(row, 'host_id')}`,
  );
}

function listUnreadable(connection: SqliteConnection, page: PageRequest) {
  return toPage(
    page,
    (limit, after) =>
      connection.all(
        `SELECT rowid AS place, * FROM events WHERE problem IS NOT NULL AND rowid < ?
         ORDER BY rowid DESC LIMIT ?`,
        [after === null ? Number.MAX_SAFE_INTEGER : Number(after), limit],
      ),
    (row): UnreadableEvent => ({
      hostId: textOf(row, 'host_id'),
      hostEpoch: numberOf(row, 'host_epoch'),
      seq: numberOf(row, 'seq'),
      kind: textOf(row, 'kind'),
      operationId: textOrNull(row, 'operation_id'),
      atMs: numberOf(row, 'at_ms'),
      receivedAtMs: numberOf(row, 'received_at_ms'),
      problem: textOf(row, 'problem'),
      bodyText: textOf(row, 'body').slice(0, UNREADABLE_TEXT_MAX),
    }),
    (row) => String(numberOf(row, 'place')),
  );
}

function readRecord<T>(row: Row): T {
  return JSON.parse(textOf(row, 'record')) as T;
}

function readEvent(row: Row): JournalEvent {
  return {
    seq: numberOf(row, 'seq'),
    atMs: numberOf(row, 'at_ms'),
    kind: textOf(row, 'kind') as JournalEvent['kind'],
    operationId: textOrNull(row, 'operation_id'),
    outageId: textOrNull(row, 'outage_id'),
    body: JSON.parse(textOf(row, 'body')) as JournalEvent['body'],
    previousHash: textOf(row, 'previous_hash'),
    hash: textOf(row, 'hash'),
  };
}
