/**
 * The life of a daemon's process: configuration, run, a clean stop on SIGTERM or SIGINT within a
 * bound, and an exit code that says how it ended. A second signal ends it at once.
 *
 * Exit codes: 0 stopped when asked, 1 failed, 2 wrong configuration or arguments, 3 cannot use its
 * data or its address (the message says why).
 */
import closeWithGrace from 'close-with-grace';
import { ConfigurationError, type Loaded } from './configuration.ts';
import { StoreError } from './sqlite.ts';

const STOP_BOUND_MS = 15_000;

export type RunningDaemon = {
  /** Resolves when `stop` is done; rejects when the daemon cannot go on. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
};

/** Failures that a person can mend without a stack trace. */
export class StartError extends Error {
  override name = 'StartError';
}

export async function runDaemon<T>(
  load: () => Loaded<T>,
  start: (config: T) => Promise<RunningDaemon>,
): Promise<void> {
  let daemon: RunningDaemon;
  try {
    const loaded = load();
    if (loaded.kind === 'print') {
      process.stdout.write(loaded.text);
      return;
    }
    daemon = await start(loaded.config);
  } catch (error) {
    exitWith(isSystemError(error) ? new StartError(startProblem(error), { cause: error }) : error);
    return;
  }
  closeWithGrace({ delay: STOP_BOUND_MS, logger: false }, async ({ err }) => {
    if (err) process.stderr.write(`${err.stack ?? err.message}\n`);
    await daemon.stop();
  });
  try {
    await daemon.done;
  } catch (error) {
    exitWith(error);
  }
}

/** Of the operating system or of SQLite: at the start, a matter of the disk and not of the program. */
function isSystemError(error: unknown): error is Error & { readonly path?: string } {
  if (!(error instanceof Error) || listenProblem(error) !== null) return false;
  const { syscall, code } = error as { syscall?: unknown; code?: unknown };
  return typeof syscall === 'string' || code === 'ERR_SQLITE_ERROR';
}

function startProblem({ message, path }: Error & { readonly path?: string }): string {
  const where = path === undefined || message.includes(path) ? '' : ` (${path})`;
  return `cannot start: ${message}${where}; check the disk, then start again: nothing was accepted`;
}

function exitWith(error: unknown): never {
  const mendable =
    error instanceof ConfigurationError ||
    error instanceof StoreError ||
    error instanceof StartError ||
    listenProblem(error) !== null;
  const text =
    listenProblem(error) ??
    (error instanceof Error ? (mendable ? error.message : error.stack) : String(error));
  process.stderr.write(`${text}\n`);
  process.exit(error instanceof ConfigurationError ? 2 : mendable ? 3 : 1);
}

function listenProblem(error: unknown): string | null {
  const { code, address, port } = error as { code?: string; address?: string; port?: number };
  const where = `${address ?? ''}${port === undefined ? '' : `:${port}`}`;
  if (code === 'EADDRINUSE')
    return `${where} is in use: stop the other program, or choose another address with --listen`;
  if (code === 'EACCES' && address !== undefined)
    return `${where} may not be used by this user: choose another address with --listen`;
  if (code === 'EADDRNOTAVAIL')
    return `${where} is not an address of this machine: choose another with --listen`;
  return null;
}
