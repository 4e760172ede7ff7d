/**
 * The app of the demo, written as an app of yours would be: it asks the sidecar before it acts,
 * says what it did, and takes silence for silence. It survives the death of either daemon without
 * knowing which of them died.
 */
import {
  ERRORS,
  EffectFailedError,
  EffectUnknownError,
  ProblemError,
  isErrorCode,
  type Holdfast,
  type OperationHandle,
  type SidecarClient,
} from '../../../shared/client/index.ts';
import type { Order } from './order-file.ts';
import type { PaymentTarget } from './target-client.ts';

const PATIENCE_MS = 60_000;
/** What may be answered otherwise later, all but for fresh authority: that order is kept for then. */
const WAITED_FOR = Object.keys(ERRORS)
  .filter((code) => isErrorCode(code))
  .filter((code) => ERRORS[code].retryable && code !== 'control_unreachable');

export type Disposition =
  | { readonly kind: 'executed'; readonly operationId: string }
  | { readonly kind: 'unknown'; readonly operationId: string }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'deferred' }
  | { readonly kind: 'deduplicated'; readonly operationId: string }
  | { readonly kind: 'conflicting' };

type Effect = {
  readonly name: 'charge' | 'refund' | 'send' | 'delete';
  readonly order: string;
  readonly amount: number;
};

export class OrderWorker {
  readonly #holdfast: Holdfast;
  readonly #target: PaymentTarget;
  readonly #claimed = new Map<string, Promise<Disposition>>();
  /**
   * Calls made again because no answer came: each would be a chance to lose or to double something.
   */
  askedAgain = 0;

  constructor(sidecar: SidecarClient, target: PaymentTarget) {
    this.#holdfast = sidecar.holdfast({
      patience: {
        patienceMs: PATIENCE_MS,
        alsoRetry: WAITED_FOR,
        onRetry: () => (this.askedAgain += 1),
      },
    });
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

  /** Accepted now and not begun: its rule pauses it when control is lost. */
  acceptDeletion(tenant: string): Promise<OperationHandle> {
    const request = {
      principal: 'user:operator',
      action: 'tenants.delete',
      resource: { id: tenant },
    };
    return this.#holdfast.admit(request, { idempotencyKey: `delete.${tenant}` });
  }

  /** Waits while it is paused. */
  carryOut(deletion: OperationHandle, tenant: string): Promise<Disposition> {
    return this.#execute(deletion, { name: 'delete', order: tenant, amount: 0 });
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
      const operation = await this.#holdfast.admit(requestOf(order), { idempotencyKey: key });
      return { kind: 'deduplicated', operationId: operation.id };
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      if (error.code === 'idempotency_key_reused') return { kind: 'conflicting' };
      if (error.code === 'control_unreachable') return { kind: 'deferred' };
      return { kind: 'refused', code: error.code };
    }
  }

  async #admit(order: Order, key: string): Promise<OperationHandle | Disposition> {
    try {
      return await this.#holdfast.admit(requestOf(order), { idempotencyKey: key });
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
    const operation = await this.#holdfast.admit(request, { idempotencyKey: `notify.${order}` });
    await this.#execute(operation, { name: 'send', order, amount: 0 });
  }

  /** What the target did not answer is recorded as unknown, and is settled by a probe later on. */
  async #execute(
    operation: OperationHandle,
    { name, order, amount }: Effect,
  ): Promise<Disposition> {
    const operationId = operation.id;
    try {
      await operation.run((ctx) =>
        ctx.effect(name, {}, async ({ fencingToken }) => {
          const fence = fencingToken && {
            resource: fencingToken.resource,
            token: fencingToken.epoch,
          };
          const answer = await this.#target.perform({
            effect: name,
            operationId,
            order,
            amount,
            fence,
          });
          if (answer.kind === 'done') return { receipt: answer.receipt };
          if (answer.kind === 'unknown') throw new Error(answer.detail);
          throw new EffectFailedError(answer.detail, { result: { detail: answer.detail } });
        }),
      );
      return { kind: 'executed', operationId };
    } catch (error) {
      if (error instanceof EffectUnknownError || error instanceof EffectFailedError)
        return { kind: 'unknown', operationId };
      throw error;
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
