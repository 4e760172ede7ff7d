/** The worklist of unknown outcomes: `sidecar.reconciliations`. */
import type { WorkItem } from '../wire/reconciliation-api.ts';
import type { JsonCaller } from './json-caller.ts';

export type ReconciliationQuery = {
  readonly strategy?: WorkItem['strategy'];
  readonly limit?: number;
  readonly cursor?: string;
};

export type Settlement = {
  readonly outcome: 'succeeded' | 'failed';
  readonly provenance: 'verified' | 'asserted' | 'assumed';
  /** How it is known. */
  readonly reason: string;
  /** A name that nobody else gives. */
  readonly by: string;
  readonly evidence?: unknown;
  readonly result?: unknown;
  /** Over the head of whoever holds the claim. */
  readonly force?: boolean;
};

export class ReconciliationClient {
  readonly #caller: JsonCaller;
  readonly #probeTimeoutMs: number;

  constructor(parts: { caller: JsonCaller; timeoutMs: number }) {
    this.#caller = parts.caller;
    this.#probeTimeoutMs = parts.timeoutMs + PROBE_MS;
  }

  list(
    query: ReconciliationQuery = {},
  ): Promise<{ readonly items: readonly WorkItem[]; readonly nextCursor: string | null }> {
    return this.#caller.body({ method: 'GET', path: '/v1/reconciliations', query });
  }

  get(operationId: string): Promise<WorkItem> {
    return this.#caller.body({ method: 'GET', path: pathOf(operationId) });
  }

  /** Holds others off; by the same name it is a renewal. Throws `reconciliation_claimed`. */
  claim(
    operationId: string,
    body: { readonly by: string; readonly ttlMs?: number },
  ): Promise<WorkItem> {
    return this.#post(operationId, 'claim', body);
  }

  release(
    operationId: string,
    body: { readonly by: string; readonly force?: boolean },
  ): Promise<WorkItem> {
    return this.#post(operationId, 'release', body);
  }

  /** The same key gets the same answer, whatever became of the first. */
  resolve(
    operationId: string,
    settlement: Settlement,
    options: { readonly idempotencyKey: string },
  ): Promise<WorkItem> {
    return this.#caller.body({
      method: 'POST',
      path: `${pathOf(operationId)}/resolve`,
      body: settlement,
      headers: { 'idempotency-key': options.idempotencyKey },
    });
  }

  /** Asks the app now, as the rule says, and waits for what it answers. */
  probe(operationId: string, body: { readonly by: string }): Promise<WorkItem> {
    return this.#caller.body({
      method: 'POST',
      path: `${pathOf(operationId)}/probe`,
      body,
      timeoutMs: this.#probeTimeoutMs,
    });
  }

  #post(operationId: string, step: string, body: unknown): Promise<WorkItem> {
    return this.#caller.body({ method: 'POST', path: `${pathOf(operationId)}/${step}`, body });
  }
}

/** The longest that a rule lets an app take over its answer. */
const PROBE_MS = 30_000;

const pathOf = (operationId: string): string =>
  `/v1/reconciliations/${encodeURIComponent(operationId)}`;
