import type { GroupRecord, HostSettings, PlacementStore } from './control-store.ts';
import { numberOf, textOf, type Row, type SqliteConnection } from './sqlite-connection.ts';

export function sqlitePlacementStore(connection: SqliteConnection): PlacementStore {
  return {
    groups: () =>
      connection.read(() =>
        connection.all('SELECT * FROM placement_groups ORDER BY name').map(readGroup),
      ),
    putGroup: ({ name, revision, spec, updatedAtMs, updatedBy }, replaces, audit) =>
      connection.write(() => {
        connection.changeOne(
          `INSERT INTO placement_groups VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, spec = excluded.spec,
             updated_at_ms = excluded.updated_at_ms, updated_by = excluded.updated_by
           WHERE revision = ?`,
          [
            name,
            revision,
            spec === null ? null : JSON.stringify(spec),
            updatedAtMs,
            updatedBy,
            replaces,
          ],
        );
        connection.appendAudit([audit]);
      }),
    hostSettings: () =>
      connection.read(() => connection.all('SELECT * FROM host_settings').map(readSettings)),
    putHostSettings: ({ hostId, version, labels, drain }, audit) =>
      connection.write(() => {
        connection.changeOne(
          `INSERT INTO host_settings VALUES (?, ?, ?, ?)
           ON CONFLICT (host_id) DO UPDATE SET version = excluded.version,
             labels = excluded.labels, drain = excluded.drain
           WHERE version = excluded.version - 1`,
          [hostId, version, JSON.stringify(labels), drain === null ? null : JSON.stringify(drain)],
        );
        connection.appendAudit([audit]);
      }),
    note: (audit) => connection.write(() => connection.appendAudit([audit])),
  };
}

function readGroup(row: Row): GroupRecord {
  return {
    name: textOf(row, 'name'),
    revision: numberOf(row, 'revision'),
    spec: row['spec'] === null ? null : (JSON.parse(textOf(row, 'spec')) as GroupRecord['spec']),
    updatedAtMs: numberOf(row, 'updated_at_ms'),
    updatedBy: textOf(row, 'updated_by'),
  };
}

function readSettings(row: Row): HostSettings {
  return {
    hostId: textOf(row, 'host_id'),
    version: numberOf(row, 'version'),
    labels: JSON.parse(textOf(row, 'labels')) as HostSettings['labels'],
    drain:
      row['drain'] === null ? null : (JSON.parse(textOf(row, 'drain')) as HostSettings['drain']),
  };
}
