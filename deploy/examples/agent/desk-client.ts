/** The desk as a child process, its ledger, and the holds that a story sets. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { LedgerEntry } from './desk-target.ts';

const DESK = fileURLToPath(new URL('./desk-target.ts', import.meta.url));

export type HoldRequest = {
  readonly conversation: string;
  readonly tool: string;
  readonly when: 'before' | 'after';
};

export class Desk {
  readonly url: string;
  readonly #stop: () => Promise<void>;

  private constructor(url: string, stop: () => Promise<void>) {
    this.url = url;
    this.#stop = stop;
  }

  static async start(): Promise<Desk> {
    const child = spawn(process.execPath, [DESK], { stdio: ['pipe', 'pipe', 'inherit'] });
    const port = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', resolve);
      child.once('exit', (code) => reject(new Error(`the desk ended with code ${code}`)));
    });
    return new Desk(`http://127.0.0.1:${port}`, async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    });
  }

  async ledger(conversation: string): Promise<readonly LedgerEntry[]> {
    const query = new URLSearchParams({ conversation });
    const { entries } = await this.#ask('GET', `/ledger?${query.toString()}`);
    return entries as readonly LedgerEntry[];
  }

  async hold(asked: HoldRequest): Promise<Hold> {
    const { id } = await this.#ask('POST', '/holds', asked);
    const path = `/holds/${String(id)}`;
    return {
      held: this.#ask('GET', path).then(() => undefined),
      release: async ({ act }) => {
        const { wasTaken } = await this.#ask('DELETE', `${path}?act=${act}`);
        return { wasTaken: wasTaken === true };
      },
    };
  }

  stop(): Promise<void> {
    return this.#stop();
  }

  async #ask(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (await answer.json()) as Record<string, unknown>;
  }
}

export type Hold = {
  /** A call is held, or the hold was given up. */
  readonly held: Promise<void>;
  release(how: { readonly act: boolean }): Promise<{ readonly wasTaken: boolean }>;
};
