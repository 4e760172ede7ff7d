/** The registers in the journal's database: as of the transaction, for the writer. */
import { sha256Hex } from '../../shared/platform/digest.ts';
import type { Database } from '../../shared/platform/sqlite.ts';
import type { RegisterWrite, StoredRegister } from '../core/register.ts';
import { registerDigest } from './journal-schema.ts';

export const REGISTER_COLUMNS = 'key, resource, epoch, version, value, updated_at_ms';

export function registerOfRow(row: Readonly<Record<string, unknown>>): StoredRegister {
  return {
    key: String(row['key']),
    resource: String(row['resource']),
    epoch: Number(row['epoch']),
    version: Number(row['version']),
    value: String(row['value']),
    updatedAtMs: Number(row['updated_at_ms']),
  };
}

/** The text of the entry: control learns that it was written and what it hashes to, not the value. */
export function registerEntry(write: RegisterWrite): string {
  const { app, key, resource, epoch, valueText } = write;
  const value = valueText === null ? {} : { valueSha256: sha256Hex(valueText) };
  return JSON.stringify({ app, key, resource, epoch, ...value });
}

export class RegisterTable {
  readonly #statements: ReturnType<typeof prepare>;
  #count = 0;

  constructor(database: Database) {
    this.#statements = prepare(database);
    this.load();
  }

  /** Of all apps. */
  get count(): number {
    return this.#count;
  }

  /** What the database has, after a transaction was undone. */
  load(): void {
    this.#count = Number(this.#statements.count.get()?.['count'] ?? 0);
  }

  find({ app, key }: Pick<RegisterWrite, 'app' | 'key'>): StoredRegister | null {
    const row = this.#statements.find.get(app, key);
    return row === undefined ? null : registerOfRow(row);
  }

  write(write: RegisterWrite, at: { readonly version: number; readonly atMs: number }): void {
    const { app, key, resource, epoch, valueText: value, replaces } = write;
    const { version, atMs } = at;
    if (value === null) {
      this.#statements.remove.run(app, key);
      this.#count -= 1;
      return;
    }
    const digest = registerDigest({ app, key, resource, epoch, version, value });
    this.#statements.set.run(app, key, resource, epoch, version, value, atMs, digest);
    if (replaces === null) this.#count += 1;
  }
}

function prepare(database: Database) {
  return {
    count: database.prepare('SELECT count(*) AS count FROM registers'),
    find: database.prepare(`SELECT ${REGISTER_COLUMNS} FROM registers WHERE app = ? AND key = ?`),
    set: database.prepare(
      'INSERT OR REPLACE INTO registers (app, key, resource, epoch, version, value, updated_at_ms, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    ),
    remove: database.prepare('DELETE FROM registers WHERE app = ? AND key = ?'),
  };
}
