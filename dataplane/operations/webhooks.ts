/**
 * Tells apps what became of approvals, by Standard Webhooks. The journal is the queue; here are the
 * network, the waits, and the place of each target on disk (`core/webhook-queue.ts`).
 *
 * H1  A place moves only after the target has taken what is before it (2xx), or that was parked: a
 *     crash repeats a delivery, under the same id, and loses none.
 * H2  Redirects are not followed, and no answer of a target is read for anything but its status.
 * H3  One target that is down holds up no other, and nothing of the work.
 */
import { join } from 'node:path';
import Type from 'typebox';
import { backoffDelayMs } from '../../shared/core/backoff.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import { webhookHeaders } from '../../shared/platform/webhook-signature.ts';
import { UnreachableError, type Transport } from '../../shared/client/transport.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { ParkedDeliverySchema, type Webhook } from '../../shared/wire/webhook-api.ts';
import { StateFile } from '../authority/state-file.ts';
import {
  DELIVERY_TRIES_MAX,
  deliveryOf,
  parked,
  unparked,
  type Delivery,
  type TargetState,
} from '../core/webhook-queue.ts';
import type { Journal } from '../journal/journal.ts';
import { Wakeup } from '../upstream/wakeup.ts';
import type { WebhookTarget } from './webhook-targets.ts';

const TIMEOUT_MS = 10_000;
const BACKOFF = { baseMs: 2_000, maxMs: 5 * 60_000 };
const IDLE_MS = 60_000;
/** After a commit, so that many commits are one look. */
const GATHER_MS = 250;
const EVENTS_LOOKED_AT = 100;

const StateSchema = Type.Object({
  sentUpToSeq: Type.Integer({ minimum: 0 }),
  parked: Type.Array(ParkedDeliverySchema),
  parkedForgotten: Type.Integer({ minimum: 0 }),
  again: Type.Array(Type.Object({ id: Type.String(), type: Type.String(), body: Type.String() })),
});

export type WebhookMetrics = {
  readonly delivery: (target: string, outcome: 'delivered' | 'failed' | 'parked') => void;
  readonly parked: (target: string, count: number) => void;
};

type Parts = {
  readonly directory: string;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: WebhookMetrics;
  readonly openTransport: (origin: string) => Transport;
};

export class Webhooks {
  readonly #senders: ReadonlyMap<string, Sender>;

  constructor(parts: Parts, targets: readonly WebhookTarget[]) {
    this.#senders = new Map(targets.map((target) => [target.name, new Sender(parts, target)]));
  }

  tasks(): Task[] {
    return [...this.#senders.values()].map((sender) => sender.task);
  }

  list(): Webhook[] {
    return [...this.#senders.values()].map((sender) => sender.view());
  }

  /** What is parked is tried again. `not_found`. */
  retry(name: string): Webhook {
    const sender = this.#senders.get(name);
    if (sender === undefined) {
      const names = [...this.#senders.keys()].join(', ') || 'none';
      throw new HoldfastError('not_found', `there is no webhook ${name} (there are: ${names})`);
    }
    sender.retry();
    return sender.view();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#senders.values()].map((sender) => sender.close()));
  }
}

/** `done`: the place once the target has it, whatever else has changed meanwhile. */
type Due = {
  readonly delivery: Delivery;
  readonly done: (state: TargetState) => TargetState;
};

class Sender {
  readonly #parts: Parts;
  readonly #target: WebhookTarget;
  readonly #file: StateFile<typeof StateSchema>;
  readonly #url: URL;
  readonly #transport: Transport;
  readonly #wakeup = new Wakeup();
  #state: TargetState;
  #failures = 0;
  #lastError: string | null = null;
  #lastDeliveredAtMs: number | null = null;

  constructor(parts: Parts, target: WebhookTarget) {
    this.#parts = parts;
    this.#target = target;
    this.#url = new URL(target.url);
    this.#transport = parts.openTransport(this.#url.origin);
    this.#file = new StateFile(join(parts.directory, `webhook-${target.name}.json`), StateSchema);
    this.#state = this.#load();
    parts.metrics.parked(target.name, this.#state.parked.length);
    parts.journal.onCommit(() => this.#wakeup.wake());
  }

  readonly task: Task = {
    name: 'webhook',
    run: async (signal) => {
      const { clock } = this.#parts;
      while (!signal.aborted) {
        const next = this.#next();
        if (next === null) {
          await this.#wakeup.wait(clock, IDLE_MS, signal);
          await clock.sleep(GATHER_MS, signal);
        } else {
          await this.#deliver(next, signal);
        }
      }
    },
  };

  view(): Webhook {
    const { name, app = null } = this.#target;
    const { sentUpToSeq, parked: held, parkedForgotten } = this.#state;
    return {
      name,
      url: this.#url.origin + this.#url.pathname,
      app,
      sentUpToSeq,
      failures: this.#failures,
      lastError: this.#lastError,
      lastDeliveredAtMs: this.#lastDeliveredAtMs,
      parked: held,
      parkedForgotten,
    };
  }

  retry(): void {
    this.#save(unparked(this.#state));
    this.#wakeup.wake();
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  /** A target that is new is told of what comes from now on. */
  #load(): TargetState {
    const { journal, logger } = this.#parts;
    const read = this.#file.read();
    if (read.kind === 'read') return read.value;
    const { name } = this.#target;
    if (read.kind === 'damaged')
      logger.error({ webhook: name, detail: read.detail }, 'the place of a webhook is lost');
    const fresh = { sentUpToSeq: journal.head().seq, parked: [], parkedForgotten: 0, again: [] };
    this.#file.writeDurably(fresh);
    return fresh;
  }

  #save(state: TargetState): void {
    this.#state = state;
    const { parked: held, again, ...rest } = state;
    this.#file.writeDurably({ ...rest, parked: [...held], again: [...again] });
    this.#parts.metrics.parked(this.#target.name, held.length);
  }

  #next(): Due | null {
    const [first] = this.#state.again;
    if (first !== undefined)
      return {
        delivery: first,
        done: (state) => ({ ...state, again: state.again.filter(({ id }) => id !== first.id) }),
      };
    const { journal } = this.#parts;
    const head = journal.head().seq;
    const events = journal.reader.approvalEvents(
      { afterSeq: this.#state.sentUpToSeq, untilSeq: head },
      EVENTS_LOOKED_AT,
    );
    for (const event of events) {
      const operation = journal.operation(event.operationId ?? '');
      const isMine = this.#target.app === undefined || operation?.app === this.#target.app;
      const delivery = isMine ? deliveryOf(event, operation, isoTime) : null;
      const done = (state: TargetState) => ({ ...state, sentUpToSeq: event.seq });
      if (delivery !== null) return { delivery, done };
    }
    // Of no interest, all of it; written with the next delivery, or looked through again.
    const upTo = events.length < EVENTS_LOOKED_AT ? head : (events.at(-1)?.seq ?? head);
    this.#state = { ...this.#state, sentUpToSeq: Math.max(upTo, this.#state.sentUpToSeq) };
    return null;
  }

  /** H1. */
  async #deliver({ delivery, done }: Due, signal: AbortSignal): Promise<void> {
    const { clock, random, logger, metrics } = this.#parts;
    const { name } = this.#target;
    for (this.#failures = 0; !signal.aborted;) {
      const error = await this.#send(delivery, signal);
      if (signal.aborted && error !== null) return;
      const atMs = clock.now().wallMs;
      if (error === null) {
        metrics.delivery(name, 'delivered');
        [this.#failures, this.#lastError, this.#lastDeliveredAtMs] = [0, null, atMs];
        this.#save(done(this.#state));
        return;
      }
      this.#failures += 1;
      this.#lastError = error;
      if (this.#failures >= DELIVERY_TRIES_MAX) {
        metrics.delivery(name, 'parked');
        logger.error(
          { webhook: name, id: delivery.id, error },
          'a webhook was given up and parked',
        );
        this.#save(parked(done(this.#state), delivery, { error, atMs }));
        this.#failures = 0;
        return;
      }
      metrics.delivery(name, 'failed');
      const delayMs = backoffDelayMs(this.#failures, BACKOFF, random.unit());
      await clock.sleep(BACKOFF.baseMs / 2 + delayMs, signal);
    }
  }

  /** Why it was not taken; `null` where it was. */
  async #send({ id, body }: Delivery, signal: AbortSignal): Promise<string | null> {
    const timestampSeconds = Math.floor(this.#parts.clock.now().wallMs / 1_000);
    const signed = webhookHeaders(this.#target.secret, { id, timestampSeconds, body });
    try {
      const { status } = await this.#transport.send({
        method: 'POST',
        path: this.#url.pathname + this.#url.search,
        headers: { ...signed, 'content-type': 'application/json' },
        body,
        timeoutMs: TIMEOUT_MS,
        signal,
      });
      return status >= 200 && status < 300 ? null : `it answered ${status}`;
    } catch (error) {
      if (error instanceof UnreachableError) return `${error.kind}: ${error.message}`;
      throw error;
    }
  }
}

const isoTime = (wallMs: number): string => new Date(wallMs).toISOString();
