/**
 * The app of the demo, written as an app of yours would be: it asks the sidecar before it acts,
 * says what it did, and takes silence for silence. It survives the death of either daemon without
 * knowing which of them died.
 */
import {
  ProblemError,
  UnreachableError,
  type Attempt,
  type Operation,
  type SidecarClient,
} from '../../../shared/client/index.ts';
import type { Order } from './order-file.ts';
import type { EffectAnswer, PaymentTarget } from './target-client.ts';

const PATIENCE_MS = 60_000;
const PAUSE_MS = 100;

export type Disposition =
  | { readonly kind: 'executed'; readonly operationId: string }
  | { readonly kind: 'unknown'; readonly operationId: string }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'deferred' }
  | { readonly kind: 'deduplicated'; readonly operationId: string }
  | { readonly kind: 'conflicting' };

type Effect = {
  readonly name: 'charge' | 'refund' | 'send';
  readonly order: string;
  readonly amount: number;
};

export class OrderWorker {
  readonly #sidecar: SidecarClient;
  readonly #target: PaymentTarget;
  readonly #claimed = new Map<string, Promise<Disposition>>();
  /**
   * Calls made again because no answer came: each would be a chance to lose or to double something.
   */
  askedAgain = 0;

  constructor(sidecar: SidecarClient, target: PaymentTarget) {
    this.#sidecar = sidecar;
    this.#target = target;
  }

  /**
   * One line of the file. A line whose order came before is sent all the same: the sidecar knows
   * its key.
   */
  async process(order: Order): Promise<Disposition> {
    const key = `${order.kind}.${order.order}`;
    const earlier = this.#claimed.get(key);
    if (earlier !== undefined) {
      await earlier;
      return this.#repeat(order, key);
    }
    const work = this.#first(order, key);
    this.#claimed.set(key, work);
    const disposition = await work;
    if (disposition.kind === 'deferred' || disposition.kind === 'refused')
      this.#claimed.delete(key);
    return disposition;
  }

  async #first(order: Order, key: string): Promise<Disposition> {
    const admitted = await this.#admit(order, key);
    if ('kind' in admitted) return admitted;
    const effect = {
      name: order.kind === 'capture' ? 'charge' : 'refund',
      order: order.order,
      amount: order.amount,
    } as const;
    const done = await this.#execute(admitted, effect);
    if (done.kind === 'executed') await this.#notify(order);
    return done;
  }

  /**
   * A duplicate gets the operation of the first; with another amount it is told that the key is
   * taken.
   */
  async #repeat(order: Order, key: string): Promise<Disposition> {
    try {
      const { operation } = await this.#patiently(() =>
        this.#sidecar.admit(requestOf(order), { idempotencyKey: key }),
      );
      return { kind: 'deduplicated', operationId: operation.operationId };
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      if (error.code === 'idempotency_key_reused') return { kind: 'conflicting' };
      if (error.code === 'control_unreachable') return { kind: 'deferred' };
      return { kind: 'refused', code: error.code };
    }
  }

  async #admit(order: Order, key: string): Promise<Operation | Disposition> {
    try {
      const { operation } = await this.#patiently(() =>
        this.#sidecar.admit(requestOf(order), { idempotencyKey: key }),
      );
      return operation;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      // Fresh authority is not to be had now: keep the order, and come back to it with the same
      // key.
      if (error.code === 'control_unreachable') return { kind: 'deferred' };
      return { kind: 'refused', code: error.code };
    }
  }

  async #notify({ order, customer }: Order): Promise<void> {
    const request = {
      principal: 'agent:notify',
      action: 'notifications.send',
      resource: { id: customer },
      attributes: { order },
    };
    const { operation } = await this.#patiently(() =>
      this.#sidecar.admit(request, { idempotencyKey: `notify.${order}` }),
    );
    await this.#execute(operation, { name: 'send', order, amount: 0 });
  }

  async #execute({ operationId }: Operation, effect: Effect): Promise<Disposition> {
    const attempt = await this.#patiently(() =>
      this.#sidecar.startAttempt(operationId, { idempotencyKey: `start.${operationId}` }),
    );
    const step = { operationId, attempt: attempt.attempt, effect: effect.name };
    const begun = await this.#patiently(() =>
      this.#sidecar.beginEffect(step, {
        idempotencyKey: `begin.${operationId}.${attempt.attempt}`,
      }),
    );
    if (!begun.replayed) {
      const answer = await this.#target.perform({
        effect: effect.name,
        operationId,
        order: effect.order,
        amount: effect.amount,
        fence: fenceOf(attempt, begun.leaseEpoch),
      });
      await this.#patiently(() => this.#sidecar.settleEffect(step, resultOf(answer)));
      if (answer.kind !== 'done') {
        const outcome = answer.kind === 'fenced' ? 'failed' : 'unknown';
        await this.#patiently(() =>
          this.#sidecar.reportOutcome(step, { outcome, reason: answer.detail.slice(0, 500) }),
        );
        return { kind: 'unknown', operationId };
      }
    }
    await this.#patiently(() => this.#sidecar.reportOutcome(step, { outcome: 'succeeded' }));
    return { kind: 'executed', operationId };
  }

  /** Asks again, the same thing, while there is no answer or the answer is to try later. */
  async #patiently<T>(ask: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const again =
          error instanceof UnreachableError ||
          (error instanceof ProblemError &&
            error.retryable &&
            error.code !== 'control_unreachable');
        if (!again || performance.now() - startedMs > PATIENCE_MS) throw error;
        this.askedAgain += 1;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }
}

function requestOf({ order, kind, shard, amount, customer }: Order) {
  return {
    principal: 'agent:billing',
    action: `payments.${kind}`,
    resource: { id: order, attributes: { shard } },
    attributes: { amount, customer },
  };
}

function fenceOf(
  { leaseResource }: Attempt,
  token: number | null,
): { resource: string; token: number } | null {
  return leaseResource === null || token === null ? null : { resource: leaseResource, token };
}

function resultOf(answer: EffectAnswer): {
  outcome: 'succeeded' | 'failed' | 'unknown';
  result: unknown;
} {
  if (answer.kind === 'done') return { outcome: 'succeeded', result: { receipt: answer.receipt } };
  return {
    outcome: answer.kind === 'fenced' ? 'failed' : 'unknown',
    result: { detail: answer.detail },
  };
}
