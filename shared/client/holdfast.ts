/**
 * The client that apps import: work is asked for, run, claimed. What is not exported by
 * `holdfast-node.ts` may change without notice.
 *
 * Three things can come of a call, and they mean different things. It returns: what it says is on
 * disk. It throws `ProblemError`: the sidecar said no, `code` says why. It throws `UnreachableError`
 * after all its patience: nobody answered, it may or may not have happened; ask again with the same
 * key, and never conclude.
 */
import { PortableClock, PortableRandom } from '../platform/portable-clock.ts';
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import { REQUEST_HEADER } from '../wire/request-header.ts';
import { ClaimWorker, type WorkerOptions } from './claim-worker.ts';
import { JsonCaller, parseEndpoint } from './json-caller.ts';
import { OperationHandle, type HandleParts } from './operation-handle.ts';
import { patiently, type Patience } from './patience.ts';
import type { AdmitRequest } from './sidecar-shapes.ts';
import type { Target, Transport } from './transport-port.ts';
import { WorkCalls } from './work-calls.ts';

const TIMEOUT_MS = 10_000;
const PATIENCE_MS = 30_000;
const KEY_BYTES = 16;

export type HoldfastOptions = {
  /** `http://127.0.0.1:7490`, or `unix:/run/holdfast/sidecar.sock`. */
  readonly url?: string;
  /** In place of `url`. */
  readonly socketPath?: string;
  /** The app's bearer token, or a function that reads it, for tokens that are rotated in place. */
  readonly token?: string | (() => string | null);
  /** Of one request; 10 s where it is not given. */
  readonly timeoutMs?: number;
  /** How long to go on asking while no answer comes; 30 s where it is not given. */
  readonly patience?: Partial<Omit<Patience, 'signal'>>;
};

export type AdmitOptions = {
  /**
   * Names this piece of work for good: derive it from the work (an order number, a message id). The
   * same key brings back the same operation, whatever happened in between.
   */
  readonly idempotencyKey: string;
  readonly signal?: AbortSignal;
} & Partial<Omit<Patience, 'signal'>>;

export class Holdfast {
  readonly #parts: HandleParts;
  readonly #workers = new Set<{ close(): Promise<void> }>();

  constructor(
    options: HoldfastOptions,
    ports: { readonly transport: Transport; readonly clock: Clock; readonly random: Random },
  ) {
    const { token = null, timeoutMs = TIMEOUT_MS, patience } = options;
    const { transport, clock, random } = ports;
    const caller = new JsonCaller({
      transport,
      token: typeof token === 'function' ? token : () => token,
      headers: { [REQUEST_HEADER]: '1' },
      timeoutMs,
    });
    this.#parts = {
      calls: new WorkCalls(caller),
      clock,
      random,
      patience: { patienceMs: PATIENCE_MS, ...patience },
      makeKey: () => hexOf(random.bytes(KEY_BYTES)),
    };
  }

  /** Asks for work to be accepted. When it returns, the operation is durable and will come to an end. */
  async admit(
    request: AdmitRequest,
    { idempotencyKey, signal, ...own }: AdmitOptions,
  ): Promise<OperationHandle> {
    const { calls, patience } = this.#parts;
    const ask = () => calls.admit(request, idempotencyKey, signal);
    const asked = await patiently(ask, this.#parts, { ...patience, ...own, signal });
    return new OperationHandle(this.#parts, asked.operation, asked.replayed);
  }

  /** One that was accepted before, by its id. Throws `operation_not_found`. */
  async operation(operationId: string): Promise<OperationHandle> {
    const { calls, patience } = this.#parts;
    const ask = () => calls.operation(operationId);
    return new OperationHandle(this.#parts, await patiently(ask, this.#parts, patience), true);
  }

  /** Claims accepted work and runs it until it is closed. */
  worker<T>(options: WorkerOptions<T>): ClaimWorker<T> {
    const worker = new ClaimWorker(this.#parts, options);
    this.#workers.add(worker);
    void worker.done.finally(() => this.#workers.delete(worker));
    return worker;
  }

  /** Its workers come to their end first. */
  async close(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.close()));
    await this.#parts.calls.close();
  }
}

export function targetOf({ url, socketPath }: HoldfastOptions): Target {
  const text = socketPath === undefined ? url : `unix:${socketPath}`;
  const target = text === undefined ? null : parseEndpoint(text);
  if (target !== null && (url === undefined || socketPath === undefined)) return target;
  throw new TypeError(
    `${text ?? 'nothing'} is not the address of a sidecar: give url, as http://127.0.0.1:7490, or socketPath`,
  );
}

export function portablePorts(): { readonly clock: Clock; readonly random: Random } {
  return { clock: new PortableClock(), random: new PortableRandom() };
}

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
