import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import type { PublicKey } from '../../shared/wire/statements.ts';
import type {
  Enrolling,
  HostRecord,
  HostStore,
  JoinTokenRecord,
  SyncedHost,
} from './control-store.ts';
import {
  numberOf,
  numberOrNull,
  textOf,
  textOrNull,
  toPage,
  type Row,
  type SqliteConnection,
} from './sqlite-connection.ts';
import { writeFacts } from './sqlite-rollouts.ts';

export function sqliteHostStore(connection: SqliteConnection): HostStore {
  const findHost = (column: 'host_id' | 'host_name', value: string) => (): HostRecord | null => {
    const row = connection.get(`SELECT * FROM hosts WHERE ${column} = ?`, [value]);
    return row === undefined ? null : readHost(row);
  };
  return {
    async addJoinToken(token, audit) {
      await connection.write(() => {
        connection.change('INSERT INTO join_tokens VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL)', [
          token.tokenId,
          token.secretSha256,
          token.hostName,
          token.expiresAtMs,
          token.createdBy,
        ]);
        connection.appendAudit([audit]);
      });
    },
    joinToken: (tokenId) =>
      connection.read(() => {
        const row = connection.get('SELECT * FROM join_tokens WHERE token_id = ?', [tokenId]);
        return row === undefined ? null : readJoinToken(row);
      }),
    enrol: (enrolling, audit) =>
      connection.write(() => {
        enrolHost(connection, enrolling);
        connection.appendAudit([audit]);
      }),
    byKey: (kid) =>
      connection.read(() => {
        const row = connection.get(
          `SELECT hosts.*, host_keys.kid AS key_id, host_keys.host_epoch AS key_epoch, public_key
           FROM host_keys JOIN hosts USING (host_id) WHERE host_keys.kid = ?`,
          [kid],
        );
        if (row === undefined) return null;
        return {
          kid: textOf(row, 'key_id'),
          publicKey: JSON.parse(textOf(row, 'public_key')) as PublicKey,
          hostEpoch: numberOf(row, 'key_epoch'),
          host: readHost(row),
        };
      }),
    byName: (hostName) => connection.read(findHost('host_name', hostName)),
    fetch: (hostId) => connection.read(findHost('host_id', hostId)),
    list: (page) =>
      connection.read(() =>
        toPage(
          page,
          (limit, after) =>
            connection.all('SELECT * FROM hosts WHERE host_id > ? ORDER BY host_id LIMIT ?', [
              after ?? '',
              limit,
            ]),
          readHost,
          (row) => textOf(row, 'host_id'),
        ),
      ),
    all: () =>
      connection.read(() => connection.all('SELECT * FROM hosts ORDER BY host_id').map(readHost)),
    highestReportedRevision: () =>
      connection.read(() => {
        const row = connection.get('SELECT max(high_water_revision) AS highest FROM hosts');
        return Number(row?.['highest'] ?? 0);
      }),
  };
}

function enrolHost(connection: SqliteConnection, enrolling: Enrolling): void {
  const { hostId, hostName, hostEpoch, follows, kid, publicKey, atMs, tokenId } = enrolling;
  connection.changeOne(
    `UPDATE join_tokens SET used_kid = ?, used_host_id = ?, used_host_epoch = ?
     WHERE token_id = ? AND used_kid IS NULL`,
    [kid, hostId, hostEpoch, tokenId],
  );
  if (follows === null) {
    connection.changeOne(
      `INSERT INTO hosts VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL, '{}', NULL, 0, 0, 0, ?, 0, ?)
       ON CONFLICT DO NOTHING`,
      [hostId, hostName, hostEpoch, kid, atMs, hostEpoch, FIRST_PREVIOUS_HASH],
    );
  } else {
    connection.changeOne(
      `UPDATE hosts SET host_epoch = ?, kid = ?, enrolled_at_ms = ?, last_sync_at_ms = NULL
       WHERE host_id = ? AND host_epoch = ?`,
      [hostEpoch, kid, atMs, hostId, follows],
    );
  }
  // The same key may come back with its own host; with another one it is somebody else's.
  connection.changeOne(
    `INSERT INTO host_keys VALUES (?, ?, ?, ?)
     ON CONFLICT (kid) DO UPDATE SET host_epoch = excluded.host_epoch
     WHERE host_id = excluded.host_id`,
    [kid, hostId, hostEpoch, JSON.stringify(publicKey)],
  );
}

/**
 * Inside the transaction of a sync: only while the host is still at the epoch that it spoke under.
 */
export function recordSync(connection: SqliteConnection, host: SyncedHost): void {
  connection.changeOne(
    `UPDATE hosts SET last_sync_at_ms = ?, policy_revision = ?, policy_rejected = ?,
       operations = ?, sidecar_version = ?, journal_seq = ?,
       high_water_revision = max(high_water_revision, ?), high_water_epoch = max(high_water_epoch, ?)
     WHERE host_id = ? AND host_epoch = ?`,
    [
      host.atMs,
      host.policyRevision,
      host.policyRejected === null ? null : JSON.stringify(host.policyRejected),
      JSON.stringify(host.operations),
      host.sidecarVersion,
      host.journalSeq,
      host.highWater.policyRevision,
      host.highWater.epoch,
      host.hostId,
      host.hostEpoch,
    ],
  );
  if (host.facts !== undefined) writeFacts(connection, host.hostId, host.facts);
}

function readHost(row: Row): HostRecord {
  const acked = {
    hostEpoch: numberOf(row, 'acked_host_epoch'),
    seq: numberOf(row, 'acked_seq'),
    hash: textOf(row, 'acked_hash'),
  };
  const hostEpoch = numberOf(row, 'host_epoch');
  return {
    hostId: textOf(row, 'host_id'),
    hostName: textOf(row, 'host_name'),
    hostEpoch,
    kid: textOf(row, 'kid'),
    enrolledAtMs: numberOf(row, 'enrolled_at_ms'),
    lastSyncAtMs: numberOrNull(row, 'last_sync_at_ms'),
    policyRevision: numberOrNull(row, 'policy_revision'),
    policyRejected:
      row['policy_rejected'] === null
        ? null
        : (JSON.parse(textOf(row, 'policy_rejected')) as HostRecord['policyRejected']),
    operations: JSON.parse(textOf(row, 'operations')) as Record<string, number>,
    sidecarVersion: textOrNull(row, 'sidecar_version'),
    journalSeq: numberOf(row, 'journal_seq'),
    highWater: {
      policyRevision: numberOf(row, 'high_water_revision'),
      epoch: numberOf(row, 'high_water_epoch'),
    },
    acked,
    // What an earlier enrolment reported says nothing about the journal of this one.
    ackedSeq: acked.hostEpoch === hostEpoch ? acked.seq : 0,
  };
}

function readJoinToken(row: Row): JoinTokenRecord {
  return {
    tokenId: textOf(row, 'token_id'),
    secretSha256: textOf(row, 'secret_sha256'),
    hostName: textOf(row, 'host_name'),
    expiresAtMs: numberOf(row, 'expires_at_ms'),
    createdBy: textOf(row, 'created_by'),
    use:
      row['used_kid'] === null
        ? null
        : {
            kid: textOf(row, 'used_kid'),
            hostId: textOf(row, 'used_host_id'),
            hostEpoch: numberOf(row, 'used_host_epoch'),
          },
  };
}
