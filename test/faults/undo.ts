/**
 * What a campaign has set up in the machine and must take back, whatever ends it: processes, mounts,
 * directories. Newest first, and synchronously, so that it works at exit and on Ctrl-C as well.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

const GONE_BOUND_MS = 3_000;
const GONE_POLL_MS = 5;

/** Kills, and returns when the process has let go of its files: only then can a disk be unmounted. */
export function killNow(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  untilGone(child.pid);
}

export function untilGone(pid: number | undefined): void {
  const ticker = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; waitedMs < GONE_BOUND_MS && !isGone(pid); waitedMs += GONE_POLL_MS)
    Atomics.wait(ticker, 0, 0, GONE_POLL_MS);
}

/** It stays as a zombie, without files, until this program hears of it. */
export function isGone(pid: number | undefined): boolean {
  try {
    const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ', 2);
    return rest.startsWith('Z');
  } catch {
    return true;
  }
}

export class Undo {
  readonly #steps: { readonly what: string; readonly undo: () => void }[] = [];

  /** The step is done by `undoAll` unless what comes back is called first, which does it at once. */
  add(what: string, undo: () => void): () => void {
    const step = { what, undo };
    this.#steps.push(step);
    return () => {
      const at = this.#steps.indexOf(step);
      if (at === -1) return;
      this.#steps.splice(at, 1);
      undo();
    };
  }

  undoAll(): void {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        step.undo();
      } catch (error) {
        process.stderr.write(`could not undo: ${step.what}: ${String(error)}\n`);
      }
    }
  }

  /** On Ctrl-C and on any other end but a kill. npm passes a Ctrl-C on, so that it comes twice. */
  watch(): void {
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      process.on(signal, () => {
        this.undoAll();
        process.exit(code);
      });
    }
    process.once('exit', () => this.undoAll());
  }
}
