/**
 * One process a data directory. The lock is the kernel's, on an open file: it ends with the process,
 * however that ends, and nothing stale is ever left behind.
 */
import { DatabaseSync } from 'node:sqlite';
import { makeDirectory } from './durable-file.ts';
import { StoreError } from './sqlite.ts';

export type DirectoryLock = { release(): void };

/** Throws a `StoreError` where another process holds it, or where the directory cannot be used. */
export function lockDirectory(directory: string): DirectoryLock {
  try {
    makeDirectory(directory);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const message = `cannot make ${directory}: ${why}; choose another with --data-dir`;
    throw new StoreError('not_writable', message, error);
  }
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(`${directory}/lock.db`, { timeout: 0 });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StoreError('not_writable', `cannot use ${directory}: ${why}`, error);
  }
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    throw new StoreError(
      'in_use',
      `another process uses ${directory}: stop it, or choose another directory with --data-dir`,
      error,
    );
  }
  return { release: () => database.close() };
}
