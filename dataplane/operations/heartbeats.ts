/**
 * Which attempts are alive. Heartbeats are not journaled: after a restart of the sidecar every
 * executing attempt gets its full time-out anew, since its worker may well have outlived us.
 */
import type { StoredOperation } from '../core/operation-record.ts';

type Beat = { readonly attempt: number; readonly timeoutMs: number; lastBootMs: number };

export class Heartbeats {
  readonly #beats = new Map<string, Beat>();

  /** Follows an operation after each change: an executing one is watched, any other is not. */
  follow(operation: StoredOperation, nowBootMs: number): void {
    if (operation.state !== 'executing') {
      this.#beats.delete(operation.operationId);
      return;
    }
    const known = this.#beats.get(operation.operationId);
    if (known?.attempt === operation.attempt) known.lastBootMs = nowBootMs;
    else
      this.#beats.set(operation.operationId, {
        attempt: operation.attempt,
        timeoutMs: operation.heartbeatTimeoutMs,
        lastBootMs: nowBootMs,
      });
  }

  /** Attempts whose time-out has passed, at most `limit`. */
  missed(
    nowBootMs: number,
    limit: number,
  ): { readonly operationId: string; readonly attempt: number }[] {
    const missed = [];
    for (const [operationId, { attempt, timeoutMs, lastBootMs }] of this.#beats) {
      if (missed.length >= limit) break;
      if (nowBootMs - lastBootMs > timeoutMs) missed.push({ operationId, attempt });
    }
    return missed;
  }

  get size(): number {
    return this.#beats.size;
  }
}
