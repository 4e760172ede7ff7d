import type { FleetOutage } from '../../shared/wire/fleet-outages.ts';
import type { ReportedOutage } from '../../shared/wire/control-api.ts';
import { NO_TALLY, addTallies, type OutageTally } from '../core/outage-tally.ts';
import type { OwnOutage } from '../core/own-outages.ts';
import type { OutageFilter, OutageStore } from './outage-store.ts';
import type { PageRequest } from './control-store.ts';
import {
  numberOf,
  numberOrNull,
  textOf,
  textOrNull,
  toPage,
  type Row,
  type SqliteConnection,
} from './sqlite-connection.ts';

/** Both kinds in one form; `host` is empty for what is of control itself. */
const OUTAGES = `
  SELECT outage_id, host_id AS host, 'host' AS seen_by, record, NULL AS detail,
    record ->> 'fromMs' AS from_ms, record ->> 'toMs' AS to_ms FROM outages
  UNION ALL
  SELECT outage_id, ifnull(host_id, ''), 'control', NULL, detail, from_ms, to_ms FROM own_outages`;
const COLUMNS = '*, (SELECT host_name FROM hosts WHERE host_id = host) AS host_name';

/** Sorts after every id. */
const AFTER_ALL = '\u{10ffff}';

export function sqliteOutageStore(connection: SqliteConnection): OutageStore {
  const select = (rest: string, values: (string | number)[]): FleetOutage[] =>
    connection.all(`SELECT ${COLUMNS} FROM (${OUTAGES}) ${rest}`, values).map(outageOf);
  return {
    list: (filter, page) => connection.read(() => list(connection, filter, page)),
    fetch: (outageId) =>
      connection.read(() => select('WHERE outage_id = ? ORDER BY host LIMIT 100', [outageId])),
    tally: ({ outageId, hostId }) =>
      connection.read(() => tallyOf(connection, outageId, hostId ?? '')),
    overlapping: (outage, limit) =>
      connection.read(() =>
        select(
          `WHERE from_ms <= ? AND ifnull(to_ms, 9e15) >= ? AND (? = '' OR host IN (?, ''))
             AND NOT (outage_id = ? AND host = ?) ORDER BY from_ms LIMIT ?`,
          [
            outage.toMs ?? Number.MAX_SAFE_INTEGER,
            outage.fromMs,
            outage.hostId ?? '',
            outage.hostId ?? '',
            outage.outageId,
            outage.hostId ?? '',
            limit,
          ],
        ),
      ),
    put: (outages) => connection.write(() => outages.forEach((one) => putOwn(connection, one))),
    openSilences: () =>
      connection.read(() =>
        connection
          .all('SELECT * FROM own_outages WHERE to_ms IS NULL AND host_id IS NOT NULL')
          .map(ownOutageOf),
      ),
    silentHosts: (beforeMs, limit) =>
      connection.read(() =>
        connection
          .all(
            `SELECT host_id, last_sync_at_ms FROM hosts WHERE last_sync_at_ms < ?
               AND NOT EXISTS (SELECT 1 FROM own_outages
                 WHERE own_outages.host_id = hosts.host_id AND to_ms IS NULL) LIMIT ?`,
            [beforeMs, limit],
          )
          .map((row) => ({
            hostId: textOf(row, 'host_id'),
            lastSyncAtMs: numberOf(row, 'last_sync_at_ms'),
          })),
      ),
    async noteRun({ run, atMs }) {
      const before = connection.get(
        'SELECT * FROM control_runs WHERE run < ? ORDER BY run DESC LIMIT 1',
        [run],
      );
      await connection.write(() => {
        connection.change('INSERT INTO control_runs VALUES (?, ?, ?, NULL)', [run, atMs, atMs]);
      });
      if (before === undefined) return null;
      // Hosts that were heard say more of how long it went on than its own mark.
      const heard = connection.get('SELECT max(last_sync_at_ms) AS at_ms FROM hosts')?.['at_ms'];
      const markedMs = numberOf(before, 'alive_at_ms');
      return {
        run: numberOf(before, 'run'),
        aliveAtMs: typeof heard === 'number' ? Math.max(markedMs, Math.min(heard, atMs)) : markedMs,
        endedAtMs: numberOrNull(before, 'ended_at_ms'),
      };
    },
    noteAlive: ({ run, atMs, isEnd }) =>
      connection.writeTogether(
        () => {
          connection.change(
            `UPDATE control_runs SET alive_at_ms = max(alive_at_ms, ?),
               ended_at_ms = ? WHERE run = ?`,
            [atMs, isEnd ? atMs : null, run],
          );
        },
        { isLazy: true },
      ),
  };
}

function list(connection: SqliteConnection, filter: OutageFilter, page: PageRequest) {
  const conditions = ['(outage_id, host) < (?, ?)'];
  const values: string[] = [];
  const where = (condition: string, ...more: string[]): void => {
    conditions.push(condition);
    values.push(...more);
  };
  if (filter.hostId !== null) where('host = ?', filter.hostId);
  if (filter.seenBy !== null) where('seen_by = ?', filter.seenBy);
  if (filter.isOpen !== null) where(`to_ms IS ${filter.isOpen ? '' : 'NOT '}NULL`);
  return toPage(
    page,
    (limit, after) => {
      const [lastId = AFTER_ALL, lastHost = AFTER_ALL] = after?.split(' ') ?? [];
      return connection.all(
        `SELECT ${COLUMNS} FROM (${OUTAGES}) WHERE ${conditions.join(' AND ')}
         ORDER BY outage_id DESC, host DESC LIMIT ?`,
        [lastId, lastHost, ...values, limit],
      );
    },
    outageOf,
    (row) => `${textOf(row, 'outage_id')} ${textOf(row, 'host')}`,
  );
}

function outageOf(row: Row): FleetOutage {
  const host = textOf(row, 'host');
  const from = { hostId: host === '' ? null : host, hostName: textOrNull(row, 'host_name') };
  if (textOf(row, 'seen_by') === 'host') {
    const { hostId: _hostId, ...outage } = JSON.parse(textOf(row, 'record')) as ReportedOutage;
    return { ...outage, seenBy: 'host', ...from };
  }
  return {
    outageId: textOf(row, 'outage_id'),
    seenBy: 'control',
    ...from,
    fromMs: numberOf(row, 'from_ms'),
    toMs: numberOrNull(row, 'to_ms'),
    cause: host === '' ? 'control_down' : 'not_heard',
    detail: textOf(row, 'detail'),
    policyRevision: null,
    stalenessMs: null,
  };
}

function ownOutageOf(row: Row): OwnOutage {
  return {
    outageId: textOf(row, 'outage_id'),
    hostId: textOrNull(row, 'host_id'),
    fromMs: numberOf(row, 'from_ms'),
    toMs: numberOrNull(row, 'to_ms'),
    detail: textOf(row, 'detail'),
  };
}

function putOwn(connection: SqliteConnection, outage: OwnOutage): void {
  const { outageId, hostId, fromMs, toMs, detail } = outage;
  connection.change(
    `INSERT INTO own_outages VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (outage_id) DO UPDATE SET to_ms = excluded.to_ms`,
    [outageId, hostId, fromMs, toMs, detail],
  );
}

function tallyOf(connection: SqliteConnection, outageId: string, hostId: string): OutageTally {
  const row = connection.get(
    'SELECT tally FROM outage_tallies WHERE outage_id = ? AND host_id = ?',
    [outageId, hostId],
  );
  return row === undefined ? NO_TALLY : (JSON.parse(textOf(row, 'tally')) as OutageTally);
}

/** In the transaction that stores the events that were counted. */
export function addToTallies(
  connection: SqliteConnection,
  hostId: string,
  tallies: ReadonlyMap<string, OutageTally>,
): void {
  for (const [outageId, tally] of tallies) {
    const sum = addTallies(tallyOf(connection, outageId, hostId), tally);
    connection.change(
      `INSERT INTO outage_tallies VALUES (?, ?, ?) ON CONFLICT (outage_id, host_id)
       DO UPDATE SET tally = excluded.tally`,
      [outageId, hostId, JSON.stringify(sum)],
    );
  }
}
