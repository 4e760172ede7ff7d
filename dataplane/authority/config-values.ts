/**
 * The config values of the revision in force, for apps: read, waited for, watched.
 *
 * W1  A tag changes exactly when what an app gets changes: the value, its terms, or whether it is
 *     expired. A revision that leaves an entry as it was wakes nobody.
 * W2  An expiry wakes those who wait by itself. The timer is a hint to look: it is set to at most
 *     `LOOK_MS_MAX`, because a timer does not count the time that a machine is suspended.
 * W3  How many may wait is bounded; one more is told to come again.
 */
import type { Clock, Timer } from '../../shared/platform/clock.ts';
import { digestOf } from '../../shared/platform/digest.ts';
import type { ConfigList, ConfigValue } from '../../shared/wire/config-value.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { ActivePolicy } from '../core/active-policy.ts';
import {
  configEntries,
  expiredCount,
  nextExpiryInMs,
  readConfig,
  type ConfigAuthority,
  type ConfigEntry,
} from '../core/config-value.ts';
import type { PolicyAuthority } from './authority-view.ts';

const WAITERS_MAX = 512;
const LOOK_MS_MAX = 1_000;
const RETRY_MS = 1_000;
const TAG_LENGTH = 16;
/** Before the first policy. */
const NO_TAG = '"none"';

/** Of one revision: made once, when it is first read. */
type Compiled = {
  readonly policyRevision: number;
  readonly entries: readonly ConfigEntry[];
  readonly byKey: ReadonlyMap<string, { readonly entry: ConfigEntry; readonly tag: string }>;
  readonly tag: string;
};

export type ConfigOutcome = 'served' | 'default' | 'last' | 'withheld' | 'unknown_key';

export type ConfigState = {
  readonly etag: string;
  readonly policyRevision: number | null;
  readonly stalenessMs: number | null;
  readonly items: readonly ConfigValue[];
};

export type ConfigValuesOptions = {
  readonly policy: PolicyAuthority;
  readonly clock: Clock;
  readonly onRead: (outcome: ConfigOutcome) => void;
};

export class ConfigValues {
  readonly #options: ConfigValuesOptions;
  readonly #waiters = new Set<() => void>();
  #compiledOf: ActivePolicy | null = null;
  #compiled: Compiled | null = null;
  #timer: Timer | null = null;
  #lastTag = NO_TAG;
  #isClosed = false;

  constructor(options: ConfigValuesOptions) {
    this.#options = options;
    options.policy.onChange(() => this.#look());
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Throws `policy_absent`, `config_not_found`, or `config_expired` where `onExpiry` is error. */
  read(key: string): ConfigValue {
    const found = this.#require().byKey.get(key);
    if (found === undefined) {
      this.#options.onRead('unknown_key');
      throw new HoldfastError(
        'config_not_found',
        `the policy in force has no config value ${key}: GET /v1/config lists those it has`,
        { policyRevision: this.#require().policyRevision },
      );
    }
    const value = this.#valueOf(found.entry, found.tag, this.#authority());
    const outcomes = {
      policy: 'served',
      default: 'default',
      last: 'last',
      none: 'withheld',
    } as const;
    this.#options.onRead(outcomes[value.source]);
    if (value.source === 'none') throw expired(value);
    return value;
  }

  /** What `read` would say of it, as a tag: also where it would throw. */
  tagOf(key: string): string {
    const found = this.#current()?.byKey.get(key);
    if (found === undefined) return NO_TAG;
    return entryTag(found.tag, readConfig(found.entry, this.#authority()).expired);
  }

  /** Throws `policy_absent`. Entries that are expired without a value are in it, and say so. */
  list(): ConfigList {
    const { policyRevision } = this.#require();
    const { items, stalenessMs } = this.state(null);
    return { policyRevision, stalenessMs, items };
  }

  /** All of it, or one key, before the first policy too. */
  state(key: string | null): ConfigState {
    const compiled = this.#current();
    const authority = this.#authority();
    if (compiled === null) {
      return { etag: NO_TAG, policyRevision: null, stalenessMs: authority.stalenessMs, items: [] };
    }
    const items = [...compiled.byKey.values()]
      .filter(({ entry }) => key === null || entry.key === key)
      .map(({ entry, tag }) => this.#valueOf(entry, tag, authority));
    const { policyRevision } = compiled;
    const etag = key === null ? listTag(compiled, authority) : (items[0]?.etag ?? NO_TAG);
    return { etag, policyRevision, stalenessMs: authority.stalenessMs, items };
  }

  /** Of `state(null)`. */
  listTag(): string {
    const compiled = this.#current();
    return compiled === null ? NO_TAG : listTag(compiled, this.#authority());
  }

  /**
   * Resolves when something has changed, after `timeoutMs`, when the caller gives up, or when the
   * daemon stops. Take it before reading, so that a change in between is not slept through.
   */
  wait(timeoutMs: number, signal: AbortSignal): { readonly woken: Promise<void>; cancel(): void } {
    if (this.#waiters.size >= WAITERS_MAX) {
      throw new HoldfastError(
        'overloaded',
        `${WAITERS_MAX} requests wait for config already: read without wait, or share one stream`,
        { retry_after_ms: RETRY_MS },
      );
    }
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    if (this.#isClosed || signal.aborted) {
      resolve();
      return { woken, cancel: resolve };
    }
    const timer = this.#options.clock.startTimer(timeoutMs, () => done());
    const done = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', done);
      this.#waiters.delete(done);
      if (this.#waiters.size === 0) this.#disarm();
      resolve();
    };
    signal.addEventListener('abort', done, { once: true });
    this.#waiters.add(done);
    if (this.#timer === null) {
      this.#lastTag = this.listTag();
      this.#arm();
    }
    return { woken, cancel: done };
  }

  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /** W2. */
  #look(): void {
    if (this.#waiters.size === 0) return;
    const tag = this.listTag();
    const hasChanged = tag !== this.#lastTag;
    this.#lastTag = tag;
    this.#arm();
    if (hasChanged) this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }

  #arm(): void {
    this.#disarm();
    const compiled = this.#current();
    const nextMs = compiled === null ? null : nextExpiryInMs(compiled.entries, this.#authority());
    if (nextMs === null) return;
    this.#timer = this.#options.clock.startTimer(Math.min(nextMs, LOOK_MS_MAX), () => this.#look());
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #authority(): ConfigAuthority {
    const { policy, clock } = this.#options;
    const now = clock.now();
    return { stalenessMs: policy.stalenessMs(now), isRevoked: policy.revoked() !== null, now };
  }

  #require(): Compiled {
    const compiled = this.#current();
    if (compiled !== null) return compiled;
    throw new HoldfastError(
      'policy_absent',
      'this host has never received a policy: publish one, and see that control can be reached',
      { retry_after_ms: RETRY_MS },
    );
  }

  #current(): Compiled | null {
    const active = this.#options.policy.activePolicy();
    if (active !== this.#compiledOf) {
      this.#compiledOf = active;
      this.#compiled = active === null ? null : compile(active);
    }
    return this.#compiled;
  }

  #valueOf(entry: ConfigEntry, tag: string, authority: ConfigAuthority): ConfigValue {
    const { key, onExpiry, maxStalenessMs } = entry;
    const reading = readConfig(entry, authority);
    return {
      key,
      ...reading,
      onExpiry,
      policyRevision: this.#require().policyRevision,
      basis: 'cached',
      stalenessMs: authority.stalenessMs,
      maxStalenessMs,
      etag: entryTag(tag, reading.expired),
    };
  }
}

function compile({ policyRevision, document }: ActivePolicy): Compiled {
  const entries = configEntries(document.config);
  const byKey = new Map(
    entries.map((entry) => [entry.key, { entry, tag: digestOf(entry).slice(0, TAG_LENGTH) }]),
  );
  const tags = [...byKey.values()].map(({ tag }) => tag);
  return { policyRevision, entries, byKey, tag: digestOf(tags).slice(0, TAG_LENGTH) };
}

/** W1. */
const entryTag = (tag: string, isExpired: boolean): string =>
  `"${tag}${isExpired ? '-expired' : ''}"`;

function listTag({ tag, entries }: Compiled, authority: ConfigAuthority): string {
  return `"${tag}-${expiredCount(entries, authority)}"`;
}

function expired({
  key,
  reason,
  stalenessMs,
  maxStalenessMs,
  policyRevision,
}: ConfigValue): HoldfastError {
  const why = {
    authority_revoked: "control has withdrawn this host's authority",
    age_unknown: 'how old it is cannot be known since the last start',
    too_old: `it was confirmed ${stalenessMs} ms ago`,
  }[reason ?? 'too_old'];
  return new HoldfastError(
    'config_expired',
    `config value ${key} holds for ${maxStalenessMs} ms and ${why}: control must be reached first`,
    { policyRevision, stalenessMs, basis: 'cached', retry_after_ms: RETRY_MS },
  );
}
