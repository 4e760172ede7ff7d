/** Both daemons and the desk, and what stories that share them do to them one at a time. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Supervisor } from '../../../control/cli/dev/supervisor.ts';
import {
  ProblemError,
  UnreachableError,
  type ControlClient,
  type SidecarClient,
} from '../../../shared/client/index.ts';
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { Desk } from './desk-client.ts';

const SIDECAR = fileURLToPath(new URL('../../../dataplane/main.ts', import.meta.url));
const BOUND_MS = 60_000;
const POLL_MS = 100;

export class World {
  readonly supervisor: Supervisor;
  readonly desk: Desk;
  readonly sidecar: SidecarClient;
  readonly control: ControlClient;
  #last: Promise<unknown> = Promise.resolve();

  constructor(supervisor: Supervisor, desk: Desk) {
    this.supervisor = supervisor;
    this.desk = desk;
    this.sidecar = supervisor.openSidecarClient();
    this.control = supervisor.openControlClient();
  }

  /** For what kills and starts daemons. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** The journal on the disk of the sidecar, verified; throws where it is not sound. */
  async journal(): Promise<readonly JournalEvent[]> {
    const { sidecarDir } = this.supervisor.files;
    await journalTool('verify', '--data-dir', sidecarDir);
    const lines = await journalTool('export', '--data-dir', sidecarDir);
    return lines
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as JournalEvent);
  }

  async close(): Promise<void> {
    await this.sidecar.close();
    await this.control.close();
  }
}

export class InVainError extends Error {
  override name = 'InVainError';
}

/** Asks until `find` has found; a daemon that is away, does not know yet, or was faster, is asked again. */
export async function until<T>(what: string, find: () => Promise<T | null>): Promise<T> {
  const startedMs = performance.now();
  for (;;) {
    try {
      const found = await find();
      if (found !== null) return found;
    } catch (error) {
      const canPass =
        error instanceof UnreachableError ||
        (error instanceof ProblemError && (error.retryable || [404, 409].includes(error.status)));
      if (!canPass) throw error;
    }
    if (performance.now() - startedMs > BOUND_MS)
      throw new InVainError(`waited ${BOUND_MS / 1_000} s in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** What `holdfast journal` runs. */
async function journalTool(...args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [SIDECAR, 'journal', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0)
    throw new Error(`holdfast journal ${args.join(' ')} ended with ${code}: ${output}`);
  return output;
}
