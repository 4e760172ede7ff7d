import type { InForce, Notice } from '../core/authority-timeline.ts';
import type { Anchor } from '../core/sync-anchors.ts';
import type { TimelineStore } from './divergence-store.ts';
import {
  numberOf,
  numberOrNull,
  textOf,
  textOrNull,
  type Row,
  type SqliteConnection,
} from './sqlite-connection.ts';

export function sqliteTimelineStore(connection: SqliteConnection): TimelineStore {
  return {
    scales: () =>
      connection.read(() =>
        connection.all('SELECT * FROM time_scales ORDER BY from_ms').map((row) => ({
          fromMs: numberOf(row, 'from_ms'),
          bootId: textOf(row, 'boot_id'),
          bootMs: numberOf(row, 'boot_ms'),
          lastBeforeMs: numberOf(row, 'last_before_ms'),
        })),
      ),
    addScale: ({ fromMs, bootId, bootMs, lastBeforeMs }) =>
      connection.write(() => {
        connection.change('INSERT INTO time_scales VALUES (?, ?, ?, ?)', [
          fromMs,
          bootId,
          bootMs,
          lastBeforeMs,
        ]);
      }),
    lastKnownMs: () =>
      connection.read(() => {
        const row = connection.get(
          `SELECT max(
             (SELECT ifnull(max(from_ms), 0) FROM time_scales),
             (SELECT ifnull(max(at_ms), 0) FROM in_force),
             (SELECT ifnull(max(max(from_ms), ifnull(max(until_ms), 0)), 0) FROM authority_notices),
             (SELECT ifnull(max(heard_ms), 0) FROM sync_anchors),
             (SELECT ifnull(max(at_ms), 0) FROM reevaluation_marks)) AS latest`,
        );
        return Number(row?.['latest'] ?? 0);
      }),
    append: (entries) => connection.write(() => writeInForce(connection, entries)),
    inForce: (hostId, limit) =>
      connection.read(() =>
        connection
          .all(
            `SELECT * FROM (
               SELECT * FROM in_force WHERE host_id = ? OR host_id IS NULL
               ORDER BY place DESC LIMIT ?)
             ORDER BY place`,
            [hostId, limit],
          )
          .map(readInForce),
      ),
    stagings: () =>
      connection.read(() => {
        const rows = connection.all(
          `SELECT * FROM in_force WHERE host_id IS NOT NULL
             AND place > ifnull((SELECT max(place) FROM in_force WHERE host_id IS NULL), 0)
           ORDER BY place`,
        );
        return new Map(rows.map((row) => [textOf(row, 'host_id'), readInForce(row)]));
      }),
    notices: () =>
      connection.read(() =>
        connection.all('SELECT * FROM authority_notices ORDER BY from_ms').map((row) => ({
          noticeId: textOf(row, 'notice_id'),
          kind: textOf(row, 'kind') as Notice['kind'],
          subject: textOf(row, 'subject'),
          reason: textOf(row, 'reason'),
          fromMs: numberOf(row, 'from_ms'),
          untilMs: numberOrNull(row, 'until_ms'),
        })),
      ),
    putNotice: (notice, audit) =>
      connection.write(() => {
        writeNotice(connection, notice);
        connection.appendAudit([audit]);
      }),
    async keepAnchors(host, anchors, keptMax) {
      await connection.writeTogether(() => writeAnchors(connection, host, anchors, keptMax), {
        isLazy: true,
      });
    },
    anchors: ({ hostId, hostEpoch }) =>
      connection.read(() =>
        connection
          .all(
            'SELECT * FROM sync_anchors WHERE host_id = ? AND host_epoch = ? ORDER BY heard_ms',
            [hostId, hostEpoch],
          )
          .map(readAnchor),
      ),
  };
}

/** Inside a transaction. */
export function writeNotice(
  connection: SqliteConnection,
  { noticeId, kind, subject, reason, fromMs, untilMs }: Notice,
): void {
  connection.change(
    `INSERT INTO authority_notices VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (notice_id) DO UPDATE SET until_ms = excluded.until_ms`,
    [noticeId, kind, subject, reason, fromMs, untilMs],
  );
}

/** Inside a transaction. */
export function writeInForce(connection: SqliteConnection, entries: readonly InForce[]): void {
  for (const { atMs, hostId, policyRevision, cause } of entries) {
    connection.change('INSERT INTO in_force VALUES (NULL, ?, ?, ?, ?)', [
      atMs,
      hostId,
      policyRevision,
      cause,
    ]);
  }
}

function readInForce(row: Row): InForce {
  return {
    atMs: numberOf(row, 'at_ms'),
    hostId: textOrNull(row, 'host_id'),
    policyRevision: numberOf(row, 'policy_revision'),
    cause: textOf(row, 'cause') as InForce['cause'],
  };
}

function readAnchor(row: Row): Anchor {
  const bootId = textOrNull(row, 'boot_id');
  return {
    heardMs: numberOf(row, 'heard_ms'),
    transitMsMax: numberOrNull(row, 'transit_ms_max'),
    seq: numberOf(row, 'seq'),
    clock: bootId === null ? null : { bootId, bootMs: numberOf(row, 'boot_ms') },
  };
}

function writeAnchors(
  connection: SqliteConnection,
  { hostId, hostEpoch }: { readonly hostId: string; readonly hostEpoch: number },
  anchors: readonly Anchor[],
  keptMax: number,
): void {
  for (const { heardMs, transitMsMax, seq, clock } of anchors) {
    connection.change(
      `INSERT INTO sync_anchors VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET transit_ms_max = excluded.transit_ms_max`,
      [hostId, hostEpoch, heardMs, transitMsMax, seq, clock?.bootId ?? null, clock?.bootMs ?? null],
    );
  }
  connection.change(
    `DELETE FROM sync_anchors WHERE host_id = ? AND (host_epoch, heard_ms) <= (
       SELECT host_epoch, heard_ms FROM sync_anchors WHERE host_id = ?
       ORDER BY host_epoch DESC, heard_ms DESC LIMIT 1 OFFSET ?)`,
    [hostId, hostId, keptMax],
  );
}
