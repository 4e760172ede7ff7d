import type { LeaseRecord } from '../core/lease-transition.ts';
import type { LeaseStore, LeaseWrite } from './control-store.ts';
import { numberOf, textOf, toPage, type Row, type SqliteConnection } from './sqlite-connection.ts';
import { recordSync } from './sqlite-hosts.ts';

export function sqliteLeaseStore(connection: SqliteConnection): LeaseStore {
  return {
    forSync: (hostId, resources, { now, run, recovery, countsHeld }) =>
      connection.read(() => {
        const handed = connection.all('SELECT * FROM leases WHERE handover_to = ?', [hostId]);
        const rows = [...findNamed(connection, resources), ...handed];
        const at = { run, startedBootMs: recovery.startedBootMs, nowMs: now.bootMs };
        return {
          leases: new Map(rows.map((row) => [textOf(row, 'resource'), readLease(row)])),
          heldCount: countsHeld || handed.length > 0 ? countHeld(connection, hostId, at) : 0,
          highestEpoch: highestEpoch(connection),
        };
      }),
    async applySync({ host, leases, epochs, audit, isLazy }) {
      let isKnown = false;
      const write = (): void => {
        recordSync(connection, host);
        isKnown = true;
        if (epochs.highest !== epochs.replaces) {
          connection.changeOne(
            'UPDATE control_state SET highest_epoch = ? WHERE highest_epoch = ?',
            [epochs.highest, epochs.replaces],
          );
        }
        extendLeases(
          connection,
          leases.filter(({ isExtension }) => isExtension),
        );
        for (const lease of leases) if (!lease.isExtension) writeLease(connection, lease);
        connection.appendAudit(audit);
      };
      const outcome = await connection.writeTogether(write, { isLazy });
      return isKnown ? outcome : 'host_changed';
    },
    change: ({ lease, audit }) =>
      connection.write(() => {
        writeLease(connection, lease);
        connection.appendAudit([audit]);
      }),
    fetch: (resource) =>
      connection.read(() => {
        const row = connection.get('SELECT * FROM leases WHERE resource = ?', [resource]);
        return row === undefined ? null : readLease(row);
      }),
    named: (resources) => connection.read(() => findNamed(connection, resources).map(readLease)),
    list: (page) =>
      connection.read(() =>
        toPage(
          page,
          (limit, after) =>
            connection.all('SELECT * FROM leases WHERE resource > ? ORDER BY resource LIMIT ?', [
              after ?? '',
              limit,
            ]),
          readLease,
          (row) => textOf(row, 'resource'),
        ),
      ),
    all: () => connection.read(() => connection.all('SELECT * FROM leases').map(readLease)),
  };
}

export function highestEpoch(connection: SqliteConnection): number {
  return Number(connection.get('SELECT highest_epoch FROM control_state')?.['highest_epoch'] ?? 0);
}

/** The end of a lease is that of `leaseEndMs` in core/lease-transition.ts. */
function countHeld(
  connection: SqliteConnection,
  hostId: string,
  at: { readonly run: number; readonly startedBootMs: number; readonly nowMs: number },
): number {
  const counted = connection.get(
    `SELECT count(*) AS held FROM leases WHERE host_id = ? AND state = 'held'
       AND CASE WHEN run = ? THEN ends_boot_ms ELSE ? + term_ms END > ?`,
    [hostId, at.run, at.startedBootMs, at.nowMs],
  );
  return Number(counted?.['held'] ?? 0);
}

function findNamed(connection: SqliteConnection, resources: readonly string[]): Row[] {
  if (resources.length === 0) return [];
  return connection.all('SELECT * FROM leases WHERE resource IN (SELECT value FROM json_each(?))', [
    JSON.stringify(resources),
  ]);
}

/**
 * All that one sync extends, in one statement: they end together. It touches no column of an index,
 * which is most of what a row costs.
 */
function extendLeases(connection: SqliteConnection, leases: readonly LeaseWrite[]): void {
  const [first] = leases;
  if (first === undefined) return;
  const { endsBootMs, renewedAtMs } = first.record;
  const known = Object.fromEntries(
    leases.map(({ record, replacesVersion }) => [record.resource, replacesVersion]),
  );
  const changed = connection.change(
    `UPDATE leases SET ends_boot_ms = ?, renewed_at_ms = ?, version = leases.version + 1
     FROM json_each(?) AS known
     WHERE leases.resource = known.key AND leases.version = known.value`,
    [endsBootMs, renewedAtMs, JSON.stringify(known)],
  );
  connection.require(changed === leases.length);
}

function writeLease(connection: SqliteConnection, { record, replacesVersion }: LeaseWrite): void {
  const values = [
    record.epoch,
    record.state,
    record.holder.hostId,
    record.holder.hostEpoch,
    record.run,
    record.endsBootMs,
    record.termMs,
    record.grantedAtMs,
    record.renewedAtMs,
    record.transitions,
    record.version,
    record.handover === null ? null : JSON.stringify(record.handover),
    record.handover?.toHostId ?? null,
  ];
  if (replacesVersion === null) {
    connection.changeOne(
      `INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (resource) DO NOTHING`,
      [record.resource, ...values],
    );
    return;
  }
  connection.changeOne(
    `UPDATE leases SET epoch = ?, state = ?, host_id = ?, host_epoch = ?, run = ?, ends_boot_ms = ?,
       term_ms = ?, granted_at_ms = ?, renewed_at_ms = ?, transitions = ?, version = ?,
       handover = ?, handover_to = ?
     WHERE resource = ? AND version = ?`,
    [...values, record.resource, replacesVersion],
  );
}

function readLease(row: Row): LeaseRecord {
  return {
    resource: textOf(row, 'resource'),
    epoch: numberOf(row, 'epoch'),
    state: row['state'] === 'held' ? 'held' : 'released',
    holder: { hostId: textOf(row, 'host_id'), hostEpoch: numberOf(row, 'host_epoch') },
    run: numberOf(row, 'run'),
    endsBootMs: numberOf(row, 'ends_boot_ms'),
    termMs: numberOf(row, 'term_ms'),
    grantedAtMs: numberOf(row, 'granted_at_ms'),
    renewedAtMs: numberOf(row, 'renewed_at_ms'),
    transitions: numberOf(row, 'transitions'),
    handover:
      row['handover'] === null
        ? null
        : (JSON.parse(textOf(row, 'handover')) as LeaseRecord['handover']),
    version: numberOf(row, 'version'),
  };
}
