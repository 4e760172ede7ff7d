import { canonicalJson } from '../../shared/core/canonical-json.ts';
import type { Rollout } from '../../shared/wire/rollout.ts';
import type { HostFacts } from '../core/host-facts.ts';
import type { RolloutStore, RolloutWrite } from './control-store.ts';
import { textOf, type Row, type SqliteConnection } from './sqlite-connection.ts';
import { writeInForce } from './sqlite-timeline.ts';

export function sqliteRolloutStore(connection: SqliteConnection): RolloutStore {
  return {
    newest: () =>
      connection.read(() => {
        const row = connection.get(
          'SELECT record FROM rollouts ORDER BY policy_revision DESC LIMIT 1',
        );
        return row === undefined ? null : readRollout(row);
      }),
    write: (write, audit, inForce = []) =>
      connection.write(() => {
        writeRollout(connection, write);
        writeInForce(connection, inForce);
        connection.appendAudit(audit);
      }),
    facts: () =>
      connection.read(() => {
        const rows = connection.all('SELECT host_id, facts FROM host_facts');
        return new Map(
          rows.map((row) => [
            textOf(row, 'host_id'),
            JSON.parse(textOf(row, 'facts')) as HostFacts,
          ]),
        );
      }),
  };
}

/** Inside a transaction: only over the record that was read. */
export function writeRollout(
  connection: SqliteConnection,
  { record, replaces }: RolloutWrite,
): void {
  const { policyRevision } = record;
  if (replaces === null) {
    connection.change('INSERT INTO rollouts VALUES (?, ?)', [
      policyRevision,
      canonicalJson(record),
    ]);
    return;
  }
  connection.changeOne('UPDATE rollouts SET record = ? WHERE policy_revision = ? AND record = ?', [
    canonicalJson(record),
    policyRevision,
    canonicalJson(replaces),
  ]);
}

export function writeFacts(connection: SqliteConnection, hostId: string, facts: HostFacts): void {
  connection.change(
    `INSERT INTO host_facts VALUES (?, ?)
     ON CONFLICT (host_id) DO UPDATE SET facts = excluded.facts`,
    [hostId, JSON.stringify(facts)],
  );
}

function readRollout(row: Row): Rollout {
  return JSON.parse(textOf(row, 'record')) as Rollout;
}
