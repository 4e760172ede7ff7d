/**
 * The one way to open a database. A setting that does not read back as it was set refuses to start:
 * SQLite can stay in another journal mode without an error.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { sha256Hex } from './digest.ts';
import { failpoint } from './failpoints.ts';

export type Database = DatabaseSync;

/** Fixed in these and later: the WAL-reset race that can lose commits. */
const SQLITE_VERSION_MIN = [3, 51, 3] as const;

export class StoreError extends Error {
  override name = 'StoreError';
  readonly code:
    | 'sqlite_too_old'
    | 'setting_refused'
    | 'schema_newer'
    | 'schema_changed'
    | 'not_writable'
    | 'in_use'
    | 'corrupt';

  constructor(code: StoreError['code'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export type OpenOptions = { readonly readOnly?: boolean };

/**
 * Opens a file with WAL, `synchronous=FULL`, foreign keys and checks on, or throws a `StoreError`.
 */
export function openDatabase(path: string, options: OpenOptions = {}): Database {
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(path, {
      readOnly: options.readOnly ?? false,
      timeout: 5_000,
      enableForeignKeyConstraints: true,
      allowExtension: false,
    });
  } catch (error) {
    throw new StoreError(
      'not_writable',
      `cannot open ${path}: ${messageOf(error)}; check that its directory exists and is writable`,
      error,
    );
  }
  try {
    checkVersion(readText(database, 'SELECT sqlite_version()'));
    if (!options.readOnly) {
      setAndReadBack(database, 'journal_mode', 'wal', 'wal');
      setAndReadBack(database, 'synchronous', 'FULL', '2');
      setAndReadBack(database, 'cell_size_check', 'ON', '1');
    }
    return database;
  } catch (error) {
    database.close();
    if (error instanceof StoreError) throw error;
    throw new StoreError(
      'corrupt',
      `cannot use ${path}: ${messageOf(error)}; keep the file and restore from a backup`,
      error,
    );
  }
}

function checkVersion(version: string): void {
  const parts = version.split('.').map(Number);
  for (const [index, least] of SQLITE_VERSION_MIN.entries()) {
    const part = parts[index] ?? 0;
    if (part > least) return;
    if (part < least) {
      throw new StoreError(
        'sqlite_too_old',
        `SQLite ${version} can lose commits: run on Node 26, which carries a fixed one`,
      );
    }
  }
}

function readText(database: Database, sql: string): string {
  const row = database.prepare(sql).get() as Record<string, string | number> | undefined;
  return String(Object.values(row ?? {})[0] ?? '');
}

function setAndReadBack(
  database: Database,
  setting: string,
  value: string,
  expected: string,
): void {
  database.exec(`PRAGMA ${setting}=${value}`);
  const actual = readText(database, `PRAGMA ${setting}`).toLowerCase();
  if (actual !== expected) {
    throw new StoreError(
      'setting_refused',
      `SQLite kept ${setting}=${actual} instead of ${expected}: the file system may not support it`,
    );
  }
}

/** Runs `work` in one write transaction; it commits, or nothing of it happened. */
export function transaction<T>(database: Database, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  let result: T;
  try {
    result = work();
  } catch (error) {
    // A full disk or an I/O error has rolled back already; a second failure here would hide the
    // first.
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
  database.exec('COMMIT');
  return result;
}

export type Migration = { readonly version: number; readonly name: string; readonly sql: string };

/**
 * Forward only. Each migration runs with its own row in one transaction, so a kill at any statement
 * leaves the schema of the one before. A schema newer than this program is refused, and so is one
 * whose applied migrations differ from those known here.
 */
export function migrate(database: Database, migrations: readonly Migration[]): void {
  database.exec(
    'CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT',
  );
  const applied = checkApplied(database, migrations);
  for (const { version, name, sql } of migrations.slice(applied)) {
    transaction(database, () => {
      for (const statement of statementsOf(database, sql)) {
        failpoint('migration.before_statement');
        statement.run();
      }
      database
        .prepare('INSERT INTO schema_migrations VALUES (?, ?, ?)')
        .run(version, name, sha256Hex(sql));
      failpoint('migration.before_commit');
    });
    failpoint('migration.after_commit');
  }
}

/**
 * One after the other, each compiled only when those before it have run. SQLite says itself where a
 * statement ends; a migration that ends with a comment is an error.
 */
function* statementsOf(database: Database, sql: string): Generator<StatementSync> {
  for (let rest = sql; rest.trim() !== '';) {
    const statement = database.prepare(rest);
    yield statement;
    rest = rest.slice(statement.sourceSQL.length);
  }
}

/** How many of `migrations` the data has; throws where this program cannot know its form. */
export function checkApplied(database: Database, migrations: readonly Migration[]): number {
  const applied = database
    .prepare('SELECT version, name, checksum FROM schema_migrations ORDER BY version')
    .all() as {
    version: number;
    name: string;
    checksum: string;
  }[];
  const newest = migrations.at(-1)?.version ?? 0;
  for (const row of applied) {
    if (row.version > newest) {
      throw new StoreError(
        'schema_newer',
        `the data has schema version ${row.version} (${row.name}) and this program knows ${newest}: run the newer program, or restore a backup made by this one`,
      );
    }
    const known = migrations.find(({ version }) => version === row.version);
    if (known === undefined || sha256Hex(known.sql) !== row.checksum) {
      throw new StoreError(
        'schema_changed',
        `migration ${row.version} (${row.name}) was applied in another form: restore the program that wrote this data`,
      );
    }
  }
  return applied.length;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
