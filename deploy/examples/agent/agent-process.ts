/** The agent as a child process that is killed in the middle of its work, and started again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const AGENT = fileURLToPath(new URL('./agent.ts', import.meta.url));

export type AgentOptions = {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

export class AgentProcess {
  readonly #options: AgentOptions;
  readonly #finished = Promise.withResolvers<void>();
  #child: ChildProcess | null = null;
  #isKilled = false;

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  /** It has come to the end of its story; rejects where it ended by itself before. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  start(): void {
    const { args, env } = this.#options;
    const child = spawn(process.execPath, [AGENT, ...args], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
    });
    this.#child = child;
    this.#isKilled = false;
    child.once('exit', (code, signal) => {
      if (code === 0) this.#finished.resolve();
      else if (!this.#isKilled) this.fail(new Error(`the agent ended by ${signal ?? code}`));
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    this.#isKilled = true;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  fail(error: unknown): void {
    this.#finished.reject(error);
  }
}
