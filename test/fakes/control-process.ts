/** The real control daemon as a process of its own: started, waited for, killed; it ends with its parent. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { bareEnvironment } from './bare-environment.ts';

const STOP_WITH_PARENT = new URL('../../control/cli/dev/stop-with-parent.ts', import.meta.url).href;
const MAIN = join(import.meta.dirname, '../../control/main.ts');

export type Exit = {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
};

export class ControlProcess {
  readonly #child: ChildProcess;
  readonly exited: Promise<Exit>;
  readonly lines: Record<string, unknown>[] = [];
  /** Its address, or a failure where it ended before it listened. */
  readonly listening: Promise<string>;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    const { HOME = '' } = process.env;
    this.#child = spawn(process.execPath, ['--import', STOP_WITH_PARENT, MAIN, ...args], {
      env: { ...bareEnvironment(), HOME, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let stderr = '';
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    this.exited = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => resolve({ code, signal, stderr }));
    });
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.listening = promise;
    promise.catch(() => {});
    if (this.#child.stdout === null) throw new Error('the process has no output');
    createInterface(this.#child.stdout).on('line', (line) => {
      const entry = line.startsWith('{')
        ? (JSON.parse(line) as Record<string, unknown>)
        : { text: line };
      this.lines.push(entry);
      if (entry['msg'] === 'listening') resolve(String(entry['address']));
    });
    void this.exited.then((exit) => reject(new Error(`it ended with ${JSON.stringify(exit)}`)));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): Promise<Exit> {
    this.#child.kill(signal);
    return this.exited;
  }
}

export function startControl(dataDir: string, ...args: string[]): ControlProcess {
  return new ControlProcess(['--data-dir', dataDir, '--listen', '127.0.0.1:0', ...args]);
}

export const adminTokenIn = (dataDir: string): string =>
  readFileSync(join(dataDir, 'admin.token'), 'utf8').trim();
