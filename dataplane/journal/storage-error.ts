/** Whose fault a failed write is: the disk's, or that of the one command. */
import type { JournalAnswer } from './journal-command.ts';

/** SQLite's own word on the disk, or on a file that somebody else wrote to: never on one command. */
export function isStorageError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === 'ERR_SQLITE_ERROR' || code === 'ERR_INVALID_STATE' || isFileError(error);
}

function isFileError(error: unknown): boolean {
  return typeof (error as { syscall?: unknown }).syscall === 'string';
}

/** J6. */
export function cannotApply(error: unknown): JournalAnswer {
  const why = error instanceof Error ? error.message : String(error);
  return { type: 'declined', code: 'internal', detail: `this cannot be recorded: ${why}` };
}
