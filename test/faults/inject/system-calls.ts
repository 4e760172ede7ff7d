/**
 * Errors and delays in the system calls of a process, through strace. It counts calls for each
 * thread apart, so the Nth call of every thread is hit.
 *
 * SQLite flushes with `fsync` here and with `fdatasync` elsewhere: both are always named, for an
 * injection that hits nothing proves nothing. What was hit is read from the trace.
 */
import { readFileSync } from 'node:fs';

export const STRACE = 'strace';

const FLUSHES = 'fsync,fdatasync';
/** Not `write`: threads wake each other by it, and no file system is in the way of that. */
const WRITES = 'pwrite64,ftruncate,fallocate';

export type Injection = {
  readonly calls: string;
  /** As strace has it: `error=EIO:when=3`. */
  readonly fault: string;
  readonly traceFile: string;
};

export function failingFlush(nth: number, traceFile: string): Injection {
  return { calls: FLUSHES, fault: `error=EIO:when=${nth}`, traceFile };
}

/** From the Nth on, as after a remount for reading only. */
export function readOnlyWrites(nth: number, traceFile: string): Injection {
  return { calls: WRITES, fault: `error=EROFS:when=${nth}+`, traceFile };
}

export function slowFlush(delayMs: number, traceFile: string): Injection {
  return { calls: FLUSHES, fault: `delay_enter=${delayMs * 1_000}`, traceFile };
}

/** The program and its arguments that start another program under it and become that program. */
export function straceCommand({ calls, fault, traceFile }: Injection): string[] {
  const inject = `inject=${calls}:${fault}`;
  const flags = '-D -f --seccomp-bpf -y -ttt -e signal=none'.split(' ');
  return [STRACE, ...flags, '-o', traceFile, '-e', `trace=${calls}`, '-e', inject];
}

/** One call that was made to fail or to wait. */
export type Injected = { readonly atMs: number; readonly path: string };

export function injectedCalls(traceFile: string): Injected[] {
  const unfinished = new Map<string, Injected>();
  const injected: Injected[] = [];
  for (const line of readTrace(traceFile).split('\n')) {
    const [, thread = '', seconds = '', rest = ''] = /^(\d+) +(\d+\.\d+) (.*)$/.exec(line) ?? [];
    const path = /\(\d+<([^>]*)>/.exec(rest)?.[1];
    const call = { atMs: Number(seconds) * 1_000, path: path ?? '' };
    if (rest.endsWith('<unfinished ...>')) unfinished.set(thread, call);
    if (/\((?:INJECTED|DELAYED)\)/.test(rest))
      injected.push(path === undefined ? (unfinished.get(thread) ?? call) : call);
  }
  return injected;
}

function readTrace(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** A file of it. Its directory alone is not: SQLite ignores that, and the sidecar flushes it itself. */
export function isOfJournal({ path }: Injected): boolean {
  return path.includes('/journal/');
}
