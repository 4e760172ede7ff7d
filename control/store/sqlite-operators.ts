import type { AuditEntry, Operator } from '../../shared/wire/control-api.ts';
import type { AuditStore, OperatorStore } from './control-store.ts';
import { numberOf, textOf, toPage, type Row, type SqliteConnection } from './sqlite-connection.ts';

export function sqliteOperatorStore(connection: SqliteConnection): OperatorStore {
  const list = (): Operator[] =>
    connection.all('SELECT * FROM operators ORDER BY name').map(readOperator);
  return {
    async add({ name, roles, createdAtMs, tokenSha256 }, audit) {
      const outcome = await connection.write(() => {
        connection.changeOne(
          'INSERT INTO operators VALUES (?, ?, ?, ?) ON CONFLICT (name) DO NOTHING',
          [name, JSON.stringify(roles), tokenSha256, createdAtMs],
        );
        connection.appendAudit([audit]);
      });
      return outcome === 'ok' ? 'ok' : 'exists';
    },
    async remove(name, audit) {
      let reason: 'not_found' | 'last_admin' = 'not_found';
      const outcome = await connection.write(() => {
        const operators = list();
        connection.require(operators.some((operator) => operator.name === name));
        reason = 'last_admin';
        connection.require(
          operators.some((other) => other.name !== name && other.roles.includes('admin')),
        );
        connection.changeOne('DELETE FROM operators WHERE name = ?', [name]);
        connection.appendAudit([audit]);
      });
      return outcome === 'ok' ? 'ok' : reason;
    },
    byToken: (tokenSha256) =>
      connection.read(() => {
        const row = connection.get('SELECT * FROM operators WHERE token_sha256 = ?', [tokenSha256]);
        return row === undefined ? null : readOperator(row);
      }),
    list: () => connection.read(list),
  };
}

export function sqliteAuditStore(connection: SqliteConnection): AuditStore {
  return {
    list: (page) =>
      connection.read(() =>
        toPage(
          page,
          (limit, after) =>
            connection.all('SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?', [
              after === null ? Number.MAX_SAFE_INTEGER : Number(after),
              limit,
            ]),
          readAuditEntry,
          (row) => String(numberOf(row, 'seq')),
        ),
      ),
    tail: (count) =>
      connection.read(() =>
        connection
          .all('SELECT * FROM audit ORDER BY seq DESC LIMIT ?', [count])
          .map(readAuditEntry)
          .toReversed(),
      ),
  };
}

function readOperator(row: Row): Operator {
  return {
    name: textOf(row, 'name'),
    roles: JSON.parse(textOf(row, 'roles')) as Operator['roles'],
    createdAtMs: numberOf(row, 'created_at_ms'),
  };
}

function readAuditEntry(row: Row): AuditEntry {
  return {
    seq: numberOf(row, 'seq'),
    atMs: numberOf(row, 'at_ms'),
    actor: textOf(row, 'actor'),
    action: textOf(row, 'action'),
    target: textOf(row, 'target'),
    detail: JSON.parse(textOf(row, 'detail')) as Record<string, unknown>,
    previousHash: textOf(row, 'previous_hash'),
    hash: textOf(row, 'hash'),
  };
}
