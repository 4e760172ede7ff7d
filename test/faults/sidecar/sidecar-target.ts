/** Work against a sidecar over HTTP, through the client that apps import. */
import { SidecarClient } from '../../../shared/client/index.ts';
import { UndiciTransport } from '../../../shared/client/transport.ts';
import { SystemClock } from '../../../shared/platform/clock.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';
import type { Operation } from '../../../shared/wire/operation.ts';
import type { CallAnswer, CallRequest } from '../history/history.ts';
import type { WorkTarget } from '../history/work-target.ts';

const PRINCIPAL = 'agent:worker';
const ACTION = 'jobs.run';
const PAGE = 500;

export class SidecarTarget implements WorkTarget {
  readonly client: SidecarClient;

  constructor(address: {
    readonly url: string;
    readonly socketPath?: string;
    readonly token: string;
    readonly timeoutMs: number;
  }) {
    this.client = new SidecarClient({
      transport: new UndiciTransport(address),
      clock: new SystemClock(),
      random: new SystemRandom(),
      token: () => address.token,
      timeoutMs: address.timeoutMs,
    });
  }

  async perform(
    request: CallRequest,
    { operationId, attempt }: { operationId: string; attempt: number },
  ): Promise<CallAnswer> {
    const { client } = this;
    const done = { operationId, replayed: false, attempt };
    switch (request.kind) {
      case 'admit': {
        const { operation, replayed } = await client.admit(
          { principal: PRINCIPAL, action: ACTION, attributes: { amount: request.amount } },
          { idempotencyKey: request.key },
        );
        return { operationId: operation.operationId, replayed, attempt: operation.attempt };
      }
      case 'start_attempt': {
        const started = await client.startAttempt(operationId, { idempotencyKey: request.token });
        return { ...done, operationId: started.operationId, attempt: started.attempt };
      }
      case 'begin_effect': {
        const { replayed } = await client.beginEffect(
          { operationId, attempt, effect: request.effect },
          { idempotencyKey: request.token },
        );
        return { ...done, replayed };
      }
      case 'settle_effect': {
        const { outcome, result, effect } = request;
        await client.settleEffect({ operationId, attempt, effect }, { outcome, result });
        return done;
      }
      case 'save_checkpoint':
        await client.heartbeat({ operationId, attempt }, { checkpoint: request.checkpoint });
        return done;
      case 'report_outcome': {
        const { outcome, result } = request;
        await client.reportOutcome({ operationId, attempt }, { outcome, result });
        return done;
      }
      case 'cancel':
        await client.cancel(operationId, { reason: 'the campaign cancels it' });
        return done;
      case 'check_fence':
        await client.checkFence(request.resource, request.epoch);
        return done;
    }
  }

  /** Every operation that the sidecar lists. */
  async listed(): Promise<Operation[]> {
    const all: Operation[] = [];
    for (let cursor: string | undefined; ;) {
      const query = cursor === undefined ? { limit: PAGE } : { limit: PAGE, cursor };
      const { items, nextCursor } = await this.client.operations(query);
      all.push(...items);
      if (nextCursor === null) return all;
      cursor = nextCursor;
    }
  }

  async close(): Promise<void> {
    await this.client.close();
  }
}
