/**
 * What an operator does to a journal: look, take out, copy; and, while the sidecar is stopped, put
 * back, and say that what is lost is lost. Nothing is ever deleted: files are moved aside.
 */
import { once } from 'node:events';
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import type { Clock } from '../../shared/platform/clock.ts';
import { ConfigurationError } from '../../shared/platform/configuration.ts';
import { lockDirectory } from '../../shared/platform/directory-lock.ts';
import {
  makeDirectory,
  syncDirectory,
  writeDurableFile,
} from '../../shared/platform/durable-file.ts';
import { StartError } from '../../shared/platform/shutdown.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import type { ChainPlace, JournalVerdict } from '../core/journal-verdict.ts';
import { backupJournal, manifestPath, rememberAsIs, restoreJournal } from './journal-backup.ts';
import { journalFiles, type JournalFiles } from './journal-files.ts';
import { JournalReader } from './journal-reader.ts';
import { verifyJournal } from './start-verification.ts';

const USAGE = `usage: holdfast journal <command> --data-dir DIR
   or: node dataplane/main.ts journal <command> --data-dir DIR

  verify [--json]               read all of it and compare it with what is remembered: 0 sound, 1 not
  export                        its entries as NDJSON on standard output
  backup --to FILE              a copy that proves itself, also while the sidecar runs
  restore --from FILE [--accept-loss]
                                put a backup where no journal is; what came after it stays lost, and
                                without --accept-loss the sidecar starts quarantined
  accept-loss [--keep] [--yes]  move a damaged journal aside, so that the next start makes a new one;
                                --keep leaves one in service that has only lost its end
`;

const EXPORT_PAGE_ENTRIES = 500;

type Flags = {
  readonly 'data-dir'?: string;
  readonly to?: string;
  readonly from?: string;
  readonly json?: boolean;
  readonly keep?: boolean;
  readonly yes?: boolean;
  readonly 'accept-loss'?: boolean;
};

export type ToolPorts = { readonly clock: Clock; readonly out: Writable; readonly err: Writable };

/** Resolves with the exit code: 0 done or sound, 1 damaged or refused, 2 wrong arguments. */
export async function runJournalTool(argv: readonly string[], ports: ToolPorts): Promise<number> {
  const { out, err } = ports;
  if (argv.some((word) => word === '--help' || word === '-h')) {
    out.write(USAGE);
    return 0;
  }
  try {
    const { command, flags } = readArguments(argv);
    const files = journalFiles(join(resolve(required(flags, 'data-dir')), 'journal'));
    switch (command) {
      case 'verify':
        return verify(files, flags.json === true, out);
      case 'export':
        return await exportEntries(files, ports);
      case 'backup':
        return await backUp(files, required(flags, 'to'), ports);
      case 'restore':
        return alone(files, () => restore(files, required(flags, 'from'), flags, ports));
      case 'accept-loss':
        return alone(files, () => acceptLoss(files, flags, ports));
      default:
        throw new ConfigurationError([`there is no command ${command}`, USAGE]);
    }
  } catch (error) {
    const isExpected =
      error instanceof StartError ||
      error instanceof StoreError ||
      error instanceof ConfigurationError;
    err.write(`${isExpected ? error.message : String((error as Error).stack)}\n`);
    return error instanceof ConfigurationError ? 2 : 1;
  }
}

function readArguments(argv: readonly string[]): { command: string; flags: Flags } {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        'data-dir': { type: 'string' },
        to: { type: 'string' },
        from: { type: 'string' },
        json: { type: 'boolean' },
        keep: { type: 'boolean' },
        yes: { type: 'boolean' },
        'accept-loss': { type: 'boolean' },
      },
    });
    const [command, ...rest] = positionals;
    if (command === undefined || rest.length > 0) throw new TypeError('one command is needed');
    return { command, flags: values };
  } catch (error) {
    throw new ConfigurationError([error instanceof Error ? error.message : String(error), USAGE]);
  }
}

function required(flags: Flags, name: 'data-dir' | 'to' | 'from'): string {
  const value = flags[name];
  if (value === undefined) throw new ConfigurationError([`--${name} is required`, USAGE]);
  return value;
}

/** Throws a `StoreError` while a sidecar runs over the files that would be moved from under it. */
function alone(files: JournalFiles, work: () => number): number {
  const lock = lockDirectory(dirname(files.directory));
  try {
    return work();
  } finally {
    lock.release();
  }
}

function verify(files: JournalFiles, asJson: boolean, out: Writable): number {
  const verdict = wholeVerdict(files);
  out.write(asJson ? `${JSON.stringify(verdict)}\n` : describe(files, verdict));
  return verdict.kind === 'ok' || verdict.kind === 'fresh' ? 0 : 1;
}

/** A schema that was tampered with is damage here; one of a newer program is not. */
function wholeVerdict(files: JournalFiles): JournalVerdict {
  try {
    return verifyJournal(files, { entriesMax: Number.MAX_SAFE_INTEGER });
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'schema_changed') throw error;
    return { kind: 'unreadable', evidence: [error.message] };
  }
}

function describe({ directory }: JournalFiles, verdict: JournalVerdict): string {
  switch (verdict.kind) {
    case 'ok':
      return `${directory} is sound: ${verdict.head.seq} entries, the last with hash ${verdict.head.hash}${beginning(verdict.pruned)}\n`;
    case 'fresh':
      return `${directory} holds no journal yet, and nothing remembers one\n`;
    default:
      return `${directory} is damaged: ${verdict.kind}\n${verdict.evidence.map((line) => `  ${line}\n`).join('')}`;
  }
}

function beginning({ seq, hash }: ChainPlace): string {
  return seq === 0 ? '' : `; pruned up to entry ${seq}, with hash ${hash}`;
}

/** What was kept from before the beginning comes first: it is all that there is. */
async function exportEntries(
  files: JournalFiles,
  { out, err }: Pick<ToolPorts, 'out' | 'err'>,
): Promise<number> {
  const reader = new JournalReader(files.database);
  try {
    const pruned = reader.pruned();
    if (pruned.seq > 0)
      err.write(
        `entries up to ${pruned.seq} were pruned, but for those of operations that may not go yet; ` +
          `entry ${pruned.seq + 1} follows the hash ${pruned.hash}\n`,
      );
    for (let afterSeq = 0; ;) {
      const entries = reader.keptAndLaterEvents(afterSeq, EXPORT_PAGE_ENTRIES);
      const last = entries.at(-1);
      if (last === undefined) return 0;
      afterSeq = last.seq;
      const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
      if (!out.write(text)) await once(out, 'drain');
    }
  } finally {
    reader.close();
  }
}

async function backUp(
  files: JournalFiles,
  path: string,
  { clock, out }: ToolPorts,
): Promise<number> {
  const { head } = await backupJournal(files, path, clock.now().wallMs);
  out.write(`${path}: ${head.seq} entries, with ${manifestPath(path)} beside it\n`);
  return 0;
}

function restore(
  files: JournalFiles,
  path: string,
  flags: Flags,
  { clock, out }: ToolPorts,
): number {
  const manifest = restoreJournal(files, path);
  const { head, madeAtMs } = manifest;
  const restored = `a backup of ${new Date(madeAtMs).toISOString()} that ends at entry ${head.seq}`;
  if (flags['accept-loss'] === true) {
    const aside = moveAside([files.head, files.loss, files.identity], files, clock);
    rememberAsIs(files, head);
    out.write(`in service: ${restored}\n${afterwards(aside)}`);
    return 0;
  }
  if (!existsSync(files.head)) rememberAsIs(files, head);
  writeDurableFile(
    files.loss,
    `this journal was put back from ${restored}: what was accepted after it is not in it\n`,
  );
  out.write(
    `put back from ${restored}; the sidecar starts quarantined, to be looked at. ` +
      'To take it into service: journal accept-loss --keep --yes\n',
  );
  return 0;
}

function acceptLoss(files: JournalFiles, { keep, yes }: Flags, { clock, out }: ToolPorts): number {
  const verdict = wholeVerdict(files);
  out.write(describe(files, verdict));
  if (verdict.kind === 'ok' || verdict.kind === 'fresh') return 0;
  const head = keep === true ? headToKeep(files, verdict) : null;
  if (yes !== true) {
    out.write(
      `With --yes this is moved aside${head === null ? '' : ', all but the entries that are there'}, ` +
        'and the host enrols anew. First take out what there is: journal export\n',
    );
    return 1;
  }
  // What is remembered goes last: stopped in between, this is still no new journal.
  const { directory } = files;
  const names = head === null && existsSync(directory) ? readdirSync(directory) : [];
  const left = names.map((name) => join(directory, name));
  const memories = [files.loss, files.head, files.identity];
  // Room is all that the ballast is: there is nothing in it to keep.
  const data = left.filter((path) => ![...memories, files.ballast].includes(path));
  const aside = moveAside([...data, ...memories], files, clock);
  if (head !== null) rememberAsIs(files, head);
  out.write(afterwards(aside));
  return 0;
}

/** Only a journal that is whole as far as it goes may stay. */
function headToKeep(files: JournalFiles, verdict: JournalVerdict): { seq: number; hash: string } {
  const head = verdict.kind === 'lost' ? newestIn(files) : null;
  if (head === null)
    throw new StartError(`what is ${verdict.kind} cannot be kept: accept the loss without --keep`);
  return head;
}

/** `null` where there is none, or not even its table. */
function newestIn(files: JournalFiles): { seq: number; hash: string } | null {
  const reader = new JournalReader(files.database);
  try {
    return reader.newest();
  } catch {
    return null;
  } finally {
    reader.close();
  }
}

function moveAside(paths: readonly string[], files: JournalFiles, clock: Clock): string {
  const dataDir = dirname(files.directory);
  const time = new Date(clock.now().wallMs).toISOString().replaceAll(/[:.]/g, '-');
  const aside = join(dataDir, `quarantine-${time}`);
  makeDirectory(aside);
  for (const path of paths) if (existsSync(path)) renameSync(path, join(aside, basename(path)));
  for (const directory of [aside, files.directory, dataDir])
    if (existsSync(directory)) syncDirectory(directory);
  return aside;
}

function afterwards(aside: string): string {
  return (
    `moved to ${aside}\n` +
    'This host must enrol again, so that control begins a new history for it:\n' +
    '  holdfast host join-token <name of the host>, then start the sidecar with --join-token-file\n'
  );
}
