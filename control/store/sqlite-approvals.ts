import type { ApprovalRequest } from '../../shared/wire/approval.ts';
import type {
  ApprovalFilter,
  ApprovalRecord,
  ApprovalStore,
  ApprovalWrite,
} from './approval-store.ts';
import type { PageRequest } from './control-store.ts';
import { numberOf, textOf, toPage, type Row, type SqliteConnection } from './sqlite-connection.ts';

/** Sorts after every id. */
const AFTER_ALL = '\u{10ffff}';

export function sqliteApprovalStore(connection: SqliteConnection): ApprovalStore {
  return {
    fetch: (requestId) =>
      connection.read(() => {
        const row = connection.get('SELECT * FROM approvals WHERE request_id = ?', [requestId]);
        return row === undefined ? null : recordOf(row);
      }),
    ofOperations: (operationIds) =>
      connection.read(() =>
        connection
          .all('SELECT * FROM approvals WHERE operation_id IN (SELECT value FROM json_each(?))', [
            JSON.stringify(operationIds),
          ])
          .map(recordOf),
      ),
    list: (filter, page) => connection.read(() => listApprovals(connection, filter, page)),
    write: (write, audit) =>
      connection.write(() => {
        writeApproval(connection, write);
        connection.appendAudit(audit);
      }),
    undelivered: ({ hostId, hostEpoch }, limit) =>
      connection.read(() =>
        connection
          .all(
            `SELECT statement FROM approvals
             WHERE host_id = ? AND host_epoch = ? AND delivery = 'waiting' AND statement IS NOT NULL
             ORDER BY request_id LIMIT ?`,
            [hostId, hostEpoch, limit],
          )
          .map((row) => textOf(row, 'statement')),
      ),
    countPending: (nowMs, principal) =>
      connection.read(() => {
        const ofOne = principal === undefined ? '' : 'AND principal = ?';
        const row = connection.get(
          `SELECT count(*) AS held FROM approvals
           WHERE state = 'pending' AND expires_at_ms > ? ${ofOne}`,
          principal === undefined ? [nowMs] : [nowMs, principal],
        );
        return row === undefined ? 0 : numberOf(row, 'held');
      }),
  };
}

/** Inside a transaction: only on the version on which it was decided. */
export function writeApproval(
  connection: SqliteConnection,
  { request, replacesVersion, statement }: ApprovalWrite,
): void {
  const { requestId, operationId, hostId, hostEpoch, principal } = request;
  const { state, delivery, expiresAtMs } = request;
  const record = JSON.stringify(request);
  if (replacesVersion === null) {
    connection.changeOne(
      'INSERT INTO approvals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING',
      [
        requestId,
        operationId,
        hostId,
        hostEpoch,
        principal,
        state,
        delivery,
        expiresAtMs,
        record,
        statement ?? null,
      ],
    );
    return;
  }
  connection.changeOne(
    `UPDATE approvals SET host_epoch = ?, state = ?, delivery = ?, expires_at_ms = ?, record = ?,
       statement = coalesce(?, statement), version = version + 1
     WHERE request_id = ? AND version = ?`,
    [
      hostEpoch,
      state,
      delivery,
      expiresAtMs,
      record,
      statement ?? null,
      requestId,
      replacesVersion,
    ],
  );
}

function listApprovals(
  connection: SqliteConnection,
  { state, nowMs }: ApprovalFilter,
  page: PageRequest,
) {
  const isNow = `CASE WHEN state = 'pending' AND expires_at_ms <= ? THEN 'expired' ELSE state END`;
  const condition = state === null ? '' : `AND ${isNow} = ?`;
  return toPage(
    page,
    (limit, after) =>
      connection.all(
        `SELECT request_id, record, version FROM approvals WHERE request_id < ? ${condition}
         ORDER BY request_id DESC LIMIT ?`,
        [after ?? AFTER_ALL, ...(state === null ? [] : [nowMs, state]), limit],
      ),
    (row) => recordOf(row).request,
    (row) => textOf(row, 'request_id'),
  );
}

function recordOf(row: Row): ApprovalRecord {
  return {
    request: JSON.parse(textOf(row, 'record')) as ApprovalRequest,
    version: numberOf(row, 'version'),
  };
}
