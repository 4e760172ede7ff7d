/** The payment target as a child process, and the calls that the worker makes to it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Agent, request } from 'undici';
import type { Ledger } from './payment-target.ts';

export type EffectCall = {
  readonly effect: 'charge' | 'refund' | 'send' | 'delete';
  readonly operationId: string;
  readonly order: string;
  readonly amount: number;
  readonly fence: { readonly resource: string; readonly token: number } | null;
};

/** `unknown`: no answer came; it may have been done. */
export type EffectAnswer =
  | { readonly kind: 'done'; readonly receipt: string }
  | { readonly kind: 'fenced'; readonly detail: string }
  | { readonly kind: 'unknown'; readonly detail: string };

export class PaymentTarget {
  readonly #url: string;
  readonly #stop: () => Promise<void>;
  readonly #agent = new Agent({ connections: 64 });

  private constructor(url: string, stop: () => Promise<void>) {
    this.#url = url;
    this.#stop = stop;
  }

  static async start(seed: number): Promise<PaymentTarget> {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('./payment-target.ts', import.meta.url)), String(seed)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    const port = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', resolve);
      child.once('exit', (code) => reject(new Error(`the payment target ended with code ${code}`)));
    });
    return new PaymentTarget(`http://127.0.0.1:${port}`, async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    });
  }

  async perform({ effect, fence, ...body }: EffectCall): Promise<EffectAnswer> {
    try {
      const { statusCode, body: answer } = await request(`${this.#url}/effects/${effect}`, {
        dispatcher: this.#agent,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(fence === null
            ? {}
            : { 'fenced-resource': fence.resource, 'fencing-token': String(fence.token) }),
        },
        body: JSON.stringify(body),
      });
      const { receipt, error } = (await answer.json()) as { receipt?: string; error?: string };
      if (statusCode === 412) return { kind: 'fenced', detail: error ?? '' };
      if (statusCode !== 200) throw new Error(`the target answered ${statusCode}: ${error}`);
      return { kind: 'done', receipt: receipt ?? '' };
    } catch (error) {
      return { kind: 'unknown', detail: error instanceof Error ? error.message : String(error) };
    }
  }

  /** All that it did, or what it did for one operation. */
  async ledger(operationId?: string): Promise<Ledger> {
    const path = operationId === undefined ? '/ledger' : `/ledger/${operationId}`;
    const { body } = await request(`${this.#url}${path}`, { dispatcher: this.#agent });
    return (await body.json()) as Ledger;
  }

  async stop(): Promise<void> {
    await this.#agent.close();
    await this.#stop();
  }
}
