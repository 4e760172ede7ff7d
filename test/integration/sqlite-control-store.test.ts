import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openSqliteControlStore } from '../../control/store/sqlite-control-store.ts';
import { controlStoreContract } from '../contract/control-store.contract.ts';
import { rolloutStoreContract } from '../contract/rollout-store.contract.ts';

const create = async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
  return {
    open: async () => openSqliteControlStore(join(directory, 'control.db')),
    dispose: async () => rmSync(directory, { recursive: true }),
  };
};

controlStoreContract('SQLite', create);
rolloutStoreContract('SQLite', create);

describe('SQLite besides', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('refuses to change or delete an entry of the audit trail', async () => {
    const path = join(directory, 'control.db');
    const store = openSqliteControlStore(path);
    await store.startRun({ controlId: 'ctl_1', run: 1 });
    const operator = { name: 'ann', roles: ['admin' as const], createdAtMs: 1, tokenSha256: 'x' };
    await store.operators.add(operator, {
      atMs: 1,
      actor: 'a',
      action: 'b',
      target: 'c',
      detail: {},
    });
    await store.close();
    const database = new DatabaseSync(path);
    expect(() => database.exec("UPDATE audit SET actor = 'other'")).toThrow(/append-only/);
    expect(() => database.exec('DELETE FROM audit')).toThrow(/append-only/);
    database.close();
  });

  test('refuses a schema that is newer, and one that was changed', () => {
    const path = join(directory, 'control.db');
    void openSqliteControlStore(path).close();
    const database = new DatabaseSync(path);
    database.exec("INSERT INTO schema_migrations VALUES (99, 'future', 'x')");
    expect(() => openSqliteControlStore(path)).toThrow(/schema version 99/);
    database.exec('DELETE FROM schema_migrations WHERE version = 99');
    database.exec("UPDATE schema_migrations SET checksum = 'x' WHERE version = 2");
    expect(() => openSqliteControlStore(path)).toThrow(
      /migration 2 .* was applied in another form/,
    );
    database.close();
  });
});
