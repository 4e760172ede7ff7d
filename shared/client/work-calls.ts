/** The calls of the sidecar's API that work is done by, each as it is; nothing here is asked twice. */
import type { JsonCaller } from './json-caller.ts';
import {
  attemptPath,
  effectPath,
  operationPath,
  type OneAttempt,
  type OneEffect,
} from './operation-paths.ts';
import type {
  AdmitRequest,
  Attempt,
  ClaimAnswer,
  EffectAnswer,
  Heartbeat,
  Operation,
} from './sidecar-shapes.ts';

/** Beyond the sidecar's own wait, before silence is taken for silence. */
const ANSWER_MS = 5_000;

export type Settlement = {
  readonly outcome: 'succeeded' | 'failed' | 'unknown';
  readonly result?: unknown;
};

export class WorkCalls {
  readonly #caller: JsonCaller;

  constructor(caller: JsonCaller) {
    this.#caller = caller;
  }

  async admit(
    request: AdmitRequest,
    key: string,
    signal?: AbortSignal,
  ): Promise<{ operation: Operation; replayed: boolean }> {
    const { status, body } = await this.#caller.call<Operation>({
      method: 'POST',
      path: '/v1/operations',
      headers: { 'idempotency-key': key },
      body: request,
      signal,
    });
    return { operation: body, replayed: status === 200 };
  }

  operation(
    operationId: string,
    options: { waitMs?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<Operation> {
    const { waitMs, signal } = options;
    return this.#caller.body({
      method: 'GET',
      path: operationPath(operationId),
      signal,
      ...(waitMs === undefined
        ? {}
        : { query: { wait: `${waitMs}ms` }, timeoutMs: waitMs + ANSWER_MS }),
    });
  }

  claim(
    request: { actions: readonly string[]; limit: number },
    options: { key: string; waitMs: number; signal?: AbortSignal },
  ): Promise<ClaimAnswer> {
    const { key, waitMs, signal } = options;
    return this.#caller.body({
      method: 'POST',
      path: '/v1/operations:claim',
      query: { wait: `${waitMs}ms` },
      headers: { 'idempotency-key': key },
      body: request,
      timeoutMs: waitMs + ANSWER_MS,
      signal,
    });
  }

  startAttempt(operationId: string, key: string): Promise<Attempt> {
    return this.#send('POST', `${operationPath(operationId)}/attempts`, {}, key);
  }

  heartbeat(attempt: OneAttempt, checkpoint?: { readonly value: unknown }): Promise<Heartbeat> {
    const body = checkpoint === undefined ? {} : { checkpoint: checkpoint.value };
    return this.#send('POST', `${attemptPath(attempt)}/heartbeat`, body);
  }

  beginEffect(effect: OneEffect, key: string): Promise<EffectAnswer> {
    return this.#send('POST', effectPath(effect), undefined, key);
  }

  settleEffect(effect: OneEffect, settlement: Settlement): Promise<EffectAnswer> {
    return this.#send('PUT', effectPath(effect), settlement);
  }

  reportOutcome(
    attempt: OneAttempt,
    outcome: Settlement & { readonly reason?: string },
  ): Promise<Operation> {
    return this.#send('PUT', `${attemptPath(attempt)}/outcome`, outcome);
  }

  cancel(operationId: string, reason?: string): Promise<Operation> {
    const body = reason === undefined ? {} : { reason };
    return this.#send('POST', `${operationPath(operationId)}/cancel`, body);
  }

  close(): Promise<void> {
    return this.#caller.close();
  }

  #send<T>(method: 'POST' | 'PUT', path: string, body?: unknown, key?: string): Promise<T> {
    return this.#caller.body<T>({
      method,
      path,
      ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
      ...(body === undefined ? {} : { body }),
    });
  }
}
