/**
 * Asks an address that the operator of the host allows one question. Nothing of the answer is
 * trusted: its size and its time are bounded, a redirect is an answer as any, nothing is unpacked,
 * and no proxy that the environment names is used.
 */
import { Agent, request } from 'undici';
import { timeoutSignal } from './clock.ts';

const ANSWER_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 8;

export type ProbeCall = {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  /** JSON; with POST. */
  readonly body: string | null;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

export type ProbeReply =
  | { readonly kind: 'answered'; readonly status: number; readonly body: string }
  | { readonly kind: 'no_answer'; readonly detail: string };

export interface ProbeCaller {
  call(call: ProbeCall): Promise<ProbeReply>;
  close(): Promise<void>;
}

export class HttpProbeCaller implements ProbeCaller {
  readonly #agent = new Agent({
    connections: CONNECTIONS_MAX,
    pipelining: 1,
    maxResponseSize: ANSWER_BYTES_MAX,
  });

  async call({ method, url, body, timeoutMs, signal }: ProbeCall): Promise<ProbeReply> {
    const timeout = timeoutSignal(timeoutMs);
    try {
      const response = await request(url, {
        dispatcher: this.#agent,
        method,
        headers: {
          accept: 'application/json',
          'user-agent': 'holdfast-sidecar',
          ...(body === null ? {} : { 'content-type': 'application/json' }),
        },
        body,
        signal: AbortSignal.any([timeout, signal]),
        // Both have one bound: the signal.
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      return { kind: 'answered', status: response.statusCode, body: await response.body.text() };
    } catch (error) {
      if (timeout.aborted)
        return { kind: 'no_answer', detail: `it gave no answer in ${timeoutMs} ms` };
      return { kind: 'no_answer', detail: problemOf(error) };
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

function problemOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE')
    return `its answer is over ${ANSWER_BYTES_MAX} bytes`;
  return `it could not be asked: ${typeof code === 'string' ? code : String(message)}`;
}
