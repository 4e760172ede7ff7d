/**
 * Config values of the sidecar: `sidecar.config`. Look at `expired` before a value is trusted: past
 * its `maxStaleness` it is what its policy says (`onExpiry`), and marked.
 */
import { backoffDelayMs, type BackoffPolicy } from '../core/backoff.ts';
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import type { ConfigList, ConfigValue } from '../wire/config-value.ts';
import type { JsonAnswer, JsonCaller } from './json-caller.ts';
import { ProblemError } from './problem-error.ts';
import { UnreachableError } from './transport.ts';

const WAIT_MS = 30_000;
/** Beyond the sidecar's own wait, before silence is taken for silence. */
const ANSWER_MS = 5_000;
const WATCH_BACKOFF: BackoffPolicy = { baseMs: 100, maxMs: 5_000 };

export type ConfigWatchOptions = {
  /** Only this one; all of them where it is not given. */
  readonly key?: string;
  readonly signal?: AbortSignal;
  /** The sidecar gave no answer, or has none yet: the watch goes on by itself. */
  readonly onInterruption?: (error: ProblemError | UnreachableError) => void;
};

/** What has changed since the one before; the first has all there is. */
export type ConfigChange = {
  readonly policyRevision: number;
  readonly items: readonly ConfigValue[];
  readonly removed: readonly string[];
};

export class ConfigClient {
  readonly #caller: JsonCaller;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(parts: { caller: JsonCaller; clock: Clock; random: Random }) {
    this.#caller = parts.caller;
    this.#clock = parts.clock;
    this.#random = parts.random;
  }

  /** Throws `config_expired` where the value is past its end and its policy says `onExpiry: error`. */
  get(key: string): Promise<ConfigValue> {
    return this.#caller.body({ method: 'GET', path: `/v1/config/${encodeURIComponent(key)}` });
  }

  /** All of them; one that is withheld is in it with `source: none`. */
  list(): Promise<ConfigList> {
    return this.#caller.body({ method: 'GET', path: '/v1/config' });
  }

  /**
   * Yields whenever a value changes, expires, or holds again; values that are withheld come with
   * `source: none`. It outlives the sidecar being away: it ends with `signal`, or where the sidecar
   * refuses for good.
   */
  async *watch(options: ConfigWatchOptions = {}): AsyncGenerator<ConfigChange, void> {
    const { key, signal, onInterruption } = options;
    let known: ReadonlyMap<string, string> | null = null;
    let etag: string | null = null;
    for (let failures = 0; !hasEnded(signal);) {
      let answer: JsonAnswer<ConfigList>;
      try {
        answer = await this.#next(etag, signal);
      } catch (error) {
        if (hasEnded(signal)) return;
        const isAway =
          error instanceof UnreachableError || (error instanceof ProblemError && error.retryable);
        if (!isAway) throw error;
        onInterruption?.(error);
        failures += 1;
        const backoffMs = backoffDelayMs(failures, WATCH_BACKOFF, this.#random.unit());
        const askedForMs = error instanceof ProblemError ? (error.retryAfterMs ?? 0) : 0;
        await this.#clock.sleep(Math.max(askedForMs, backoffMs), signal);
        continue;
      }
      failures = 0;
      if (answer.status === 304) continue;
      etag = answer.headers['etag'] ?? null;
      const items = answer.body.items.filter((item) => key === undefined || item.key === key);
      const changed = items.filter((item) => known?.get(item.key) !== item.etag);
      const tags: ReadonlyMap<string, string> = new Map(items.map((item) => [item.key, item.etag]));
      const removed = [...(known?.keys() ?? [])].filter((name) => !tags.has(name));
      const isFirst = known === null;
      known = tags;
      if (!isFirst && changed.length === 0 && removed.length === 0) continue;
      yield { policyRevision: answer.body.policyRevision, items: changed, removed };
    }
  }

  #next(etag: string | null, signal: AbortSignal | undefined): Promise<JsonAnswer<ConfigList>> {
    return this.#caller.call({
      method: 'GET',
      path: '/v1/config',
      signal,
      ...(etag === null
        ? {}
        : {
            query: { wait: `${WAIT_MS}ms` },
            headers: { 'if-none-match': etag },
            timeoutMs: WAIT_MS + ANSWER_MS,
          }),
    });
  }
}

const hasEnded = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;
