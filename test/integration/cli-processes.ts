/** The `holdfast` command as a real process, and what it leaves behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { REPOSITORY_ROOT } from '../tidy/source-tree.ts';

const MAIN = join(REPOSITORY_ROOT, 'control', 'cli', 'main.ts');

export type Finished = {
  readonly exitCode: number | null;
  readonly out: string;
  readonly err: string;
};

/** Without what the shell of whoever runs the tests says about Holdfast. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')),
  );
}

export async function runHoldfast(cwd: string, ...argv: string[]): Promise<Finished> {
  return finish(
    spawn(process.execPath, [MAIN, ...argv], {
      cwd,
      env: cleanEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
}

export async function runShell(cwd: string, line: string): Promise<Finished> {
  return finish(spawn('sh', ['-c', line], { cwd, stdio: ['ignore', 'pipe', 'pipe'] }));
}

async function finish(child: ChildProcess): Promise<Finished> {
  const written = { out: '', err: '' };
  child.stdout?.on('data', (chunk) => (written.out += String(chunk)));
  child.stderr?.on('data', (chunk) => (written.err += String(chunk)));
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', reject);
  child.once('close', (exitCode) => resolve(exitCode));
  return { exitCode: await promise, ...written };
}

/** A `holdfast dev` that runs, as its terminal sees it. */
export class DevTerminal {
  readonly ended: Promise<Ended>;
  /** Of both streams. */
  readonly lines: string[] = [];
  readonly outLines: string[] = [];
  readonly #child: ChildProcess;
  readonly #watchers = new Set<() => void>();
  #hasEnded = false;

  constructor(cwd: string, ...argv: string[]) {
    const child = spawn(
      process.execPath,
      [MAIN, 'dev', '--control-port', '0', '--sidecar-port', '0', ...argv],
      {
        cwd,
        env: cleanEnvironment(),
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        if (stream === child.stdout) this.outLines.push(line);
        this.#wake();
      });
    }
    const { promise, resolve } = Promise.withResolvers<Ended>();
    this.ended = promise;
    child.once('close', (exitCode, signal) => {
      this.#hasEnded = true;
      resolve({ exitCode, signal });
      this.#wake();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get text(): string {
    return this.lines.join('\n');
  }

  /**
   * Resolves when the output so far matches; rejects when the command ends without having said so.
   */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.text);
      if (match !== null) return match;
      if (this.#hasEnded)
        throw new Error(`it ended without saying ${String(pattern)}:\n${this.text}`);
      await new Promise<void>((resolve) => {
        const watcher = (): void => {
          this.#watchers.delete(watcher);
          resolve();
        };
        this.#watchers.add(watcher);
      });
    }
  }

  ready(): Promise<RegExpExecArray> {
    return this.says(/Stop both:/);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async interrupt(): Promise<Ended> {
    this.signal('SIGINT');
    return this.ended;
  }

  /** For the end of a test, however it went. */
  async clear(): Promise<void> {
    if (!this.#hasEnded) this.signal('SIGTERM');
    await this.ended;
  }

  #wake(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

type Ended = { readonly exitCode: number | null; readonly signal: NodeJS.Signals | null };

type Process = { readonly pid: number; readonly parent: number; readonly command: string };

/** From `/proc`: the pid, `(name)` which may hold anything, the state, and the parent. */
function processes(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return state === 'Z' ? [] : [{ pid: Number(name), parent: Number(parent), command }];
      } catch {
        // It ended while it was looked at.
        return [];
      }
    });
}

/** The daemons that a `holdfast dev` runs. */
export function daemonsOf(terminal: DevTerminal): {
  readonly control: number | undefined;
  readonly sidecar: number | undefined;
} {
  const children = processes().filter(({ parent }) => parent === terminal.pid);
  return {
    control: children.find(({ command }) => command.includes('control/main.ts'))?.pid,
    sidecar: children.find(({ command }) => command.includes('dataplane/main.ts'))?.pid,
  };
}

export function isAlive(pid: number): boolean {
  return processes().some((found) => found.pid === pid);
}

/**
 * Resolves when the process is gone; `/proc` tells no one, so it is asked in turns of the event
 * loop.
 */
export async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise<void>((resolve) => setImmediate(resolve));
}
