/**
 * Copies of the journal that prove themselves: a backup is one file and a manifest beside it, with
 * the head that it must have, and is read whole before it is called one.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { backup } from 'node:sqlite';
import {
  makeDirectory,
  syncDirectory,
  writeDurableFile,
} from '../../shared/platform/durable-file.ts';
import { openDatabase } from '../../shared/platform/sqlite.ts';
import { StartError } from '../../shared/platform/shutdown.ts';
import type { ChainPlace, JournalMemory } from '../core/journal-verdict.ts';
import { createHeadFile } from './head-file.ts';
import type { JournalFiles } from './journal-files.ts';
import { JournalReader } from './journal-reader.ts';
import { JOURNAL_MIGRATIONS } from './journal-schema.ts';
import { rememberedOf, verifyJournal } from './start-verification.ts';

const FORMAT = 1;
const READ_BYTES = 1024 * 1024;

export type BackupManifest = JournalMemory & {
  readonly format: number;
  readonly madeAtMs: number;
  readonly schemaVersion: number;
  readonly sha256: string;
};

export const manifestPath = (path: string): string => `${path}.manifest.json`;

/** While the sidecar runs or not. Throws a `StartError` where the copy is not what it should be. */
export async function backupJournal(
  files: JournalFiles,
  path: string,
  madeAtMs: number,
): Promise<BackupManifest> {
  for (const taken of [path, manifestPath(path)])
    if (existsSync(taken)) throw new StartError(`${taken} exists: name another file`);
  const before = rememberedOf(files);
  const source = openDatabase(files.database, { readOnly: true });
  try {
    await backup(source, path);
  } finally {
    source.close();
  }
  // One file, without the marks of a write-ahead log: it can be carried about.
  const copy = openDatabase(path);
  copy.exec('PRAGMA journal_mode=DELETE');
  copy.close();
  const copied = { ...files, database: path, wal: `${path}-wal` };
  const verdict = verifyJournal(copied, {
    entriesMax: Number.MAX_SAFE_INTEGER,
    remembered: before,
  });
  if (verdict.kind !== 'ok')
    throw new StartError(
      `the copy in ${path} is no backup (${verdict.kind}): ${'evidence' in verdict ? verdict.evidence.join('; ') : 'it is empty'}`,
    );
  syncFile(path);
  const manifest: BackupManifest = {
    format: FORMAT,
    madeAtMs,
    schemaVersion: JOURNAL_MIGRATIONS.at(-1)?.version ?? 0,
    head: verdict.head,
    ...placesIn(path),
    sha256: sha256OfFile(path),
  };
  writeDurableFile(manifestPath(path), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

/** Throws a `StartError` where there is a journal already, or the backup does not prove itself. */
export function restoreJournal(files: JournalFiles, path: string): BackupManifest {
  for (const present of [files.database, files.wal])
    if (existsSync(present))
      throw new StartError(
        `${present} exists and is not overwritten: move it aside first, as "journal accept-loss" does`,
      );
  const manifest = readManifest(path);
  if (sha256OfFile(path) !== manifest.sha256)
    throw new StartError(`${path} is not the file that its manifest describes: use another backup`);
  makeDirectory(files.directory);
  const temporary = `${files.database}.restoring`;
  copyFileSync(path, temporary);
  syncFile(temporary);
  renameSync(temporary, files.database);
  syncDirectory(files.directory);
  return manifest;
}

/** The journal as it is becomes what is remembered. */
export function rememberAsIs(files: JournalFiles, head: ChainPlace): void {
  createHeadFile(files.head, { head, ...placesIn(files.database) });
}

function placesIn(path: string): Pick<JournalMemory, 'acked' | 'pruned'> {
  const reader = new JournalReader(path);
  try {
    return { acked: reader.acknowledged(), pruned: reader.pruned() };
  } finally {
    reader.close();
  }
}

function readManifest(path: string): BackupManifest {
  let manifest: BackupManifest;
  try {
    manifest = JSON.parse(readFileSync(manifestPath(path), 'utf8')) as BackupManifest;
  } catch (error) {
    throw new StartError(
      `${path} has no manifest beside it that can be read (${error instanceof Error ? error.message : String(error)}): ` +
        'without one nothing says how far it goes; restore a backup that "journal backup" made',
    );
  }
  if (manifest.format !== FORMAT)
    throw new StartError(
      `${manifestPath(path)} is of format ${manifest.format}: restore it with the program that made it`,
    );
  return manifest;
}

function syncFile(path: string): void {
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  syncDirectory(dirname(path));
}

function sha256OfFile(path: string): string {
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(READ_BYTES);
    for (let read = readSync(file, bytes); read > 0; read = readSync(file, bytes))
      hash.update(bytes.subarray(0, read));
  } finally {
    closeSync(file);
  }
  return hash.digest('hex');
}
