/**
 * Workers that ask for work: those who find none wait, and are woken by what becomes claimable.
 *
 * Q1  The answer says what is on disk: an attempt of each operation has begun in the writer (I1), and
 *     no two claims get the same one, since the writer decides on the record (I9).
 * Q2  One round at a time looks for all who wait, in the order in which they came, and what it gives
 *     to one it does not offer to the next; all of a round shares a commit.
 * Q3  Nobody polls. An admission, work that comes back, a lease that is granted: each wakes only when
 *     somebody waits for that action. How many may wait is bounded.
 * Q4  A key is asked about before anything is taken for it. A request with the key of one that still
 *     waits takes its place: the earlier one was given up by whoever sent it.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import { digestOf } from '../../shared/platform/digest.ts';
import type { Pause } from '../../shared/platform/slices.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { LeaseAuthority } from '../authority/authority-view.ts';
import { isNamed } from '../core/claim.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import type { Journal } from '../journal/journal.ts';
import { ClaimSearch, type Candidate } from './claim-search.ts';
import { declined, type Executions } from './executions.ts';

const WAITERS_MAX = 256;
const RETRY_MS = 1_000;
const LEASES_AWAITED_MAX = 64;

export type ClaimOutcome = 'claimed' | 'replayed' | 'empty';
export type ClaimCall = {
  readonly app: string;
  readonly key: string;
  readonly actions: readonly string[];
  readonly limit: number;
  readonly waitMs: number;
  /** Whoever asked has gone. */
  readonly signal: AbortSignal;
};
export type ClaimResult = {
  readonly operations: readonly StoredOperation[];
  readonly replayed: boolean;
};
type Waiter = ClaimCall & {
  readonly fingerprint: string;
  readonly endsBootMs: number;
  readonly settle: (result: ClaimResult) => void;
  readonly fail: (error: unknown) => void;
};

const NOTHING: ClaimResult = { operations: [], replayed: false };

export type ClaimsParts = {
  readonly journal: Journal;
  readonly executions: Executions;
  readonly leases: Pick<LeaseAuthority, 'settled'>;
  readonly clock: Clock;
  readonly pause: Pause;
  readonly onClaim: (outcome: ClaimOutcome, operations: number) => void;
  readonly onWaiting: (waiters: number) => void;
};

export class Claims {
  readonly #parts: ClaimsParts;
  #search: ClaimSearch | null = null;
  readonly #waiters = new Map<string, Waiter>();
  /** What is on its way to the writer, by app and key. */
  readonly #submitting = new Map<string, Promise<unknown>>();
  readonly #leasesAwaited = new Set<string>();
  #isLooking = false;
  #lookAgain = false;
  #isClosed = false;

  constructor(parts: ClaimsParts) {
    this.#parts = parts;
    parts.journal.onClaimable(({ app, action }) => {
      for (const waiter of this.#waiters.values())
        if (waiter.app === app && isNamed(action, waiter.actions)) return this.#look();
    });
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Throws `overloaded` where too many wait, `idempotency_key_reused`, and what a write throws. */
  async claim(call: ClaimCall): Promise<ClaimResult> {
    const result = await this.#claim(call);
    const { operations, replayed } = result;
    const outcome = operations.length === 0 ? 'empty' : 'claimed';
    this.#parts.onClaim(replayed ? 'replayed' : outcome, operations.length);
    return result;
  }

  async #claim(call: ClaimCall): Promise<ClaimResult> {
    const { app, key, actions, limit } = call;
    const fingerprint = digestOf([...actions]);
    const name = `${app}\n${key}`;
    // Q4.
    this.#waiters.get(name)?.settle(NOTHING);
    await this.#submitting.get(name)?.catch(() => undefined);
    const isKnown = this.#parts.journal.reader.claims.isKeyKnown(app, key);
    if (isKnown || limit === 0) return this.#submit({ ...call, fingerprint }, []);
    if (this.#isClosed) return NOTHING;
    if (this.#waiters.size >= WAITERS_MAX) {
      throw new HoldfastError(
        'overloaded',
        `${WAITERS_MAX} workers wait for work, as many as this sidecar serves: claim with a higher limit from fewer`,
        { retry_after_ms: RETRY_MS },
      );
    }
    return this.#wait(name, { ...call, fingerprint });
  }

  /** Those who wait get nothing, and know at once. */
  close(): void {
    this.#isClosed = true;
    for (const waiter of this.#waiters.values()) waiter.settle(NOTHING);
  }

  #wait(name: string, call: ClaimCall & { fingerprint: string }): Promise<ClaimResult> {
    const { clock, onWaiting } = this.#parts;
    const { signal, waitMs } = call;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        if (this.#waiters.get(name) === waiter) this.#waiters.delete(name);
        signal.removeEventListener('abort', giveUp);
        timer?.cancel();
        onWaiting(this.#waiters.size);
      };
      const settle = (result: ClaimResult): void => {
        leave();
        resolve(result);
      };
      const giveUp = (): void => settle(NOTHING);
      const fail = (error: unknown): void => {
        leave();
        reject(error instanceof Error ? error : new Error(String(error)));
      };
      // What is being given out is not withdrawn: the round that gives it answers.
      const endWait = (): void => {
        if (!this.#submitting.has(name)) settle(NOTHING);
      };
      const timer = waitMs === 0 ? null : clock.startTimer(waitMs, endWait);
      signal.addEventListener('abort', giveUp, { once: true });
      const endsBootMs = clock.now().bootMs + waitMs;
      const waiter: Waiter = { ...call, endsBootMs, settle, fail };
      this.#waiters.set(name, waiter);
      onWaiting(this.#waiters.size);
      if (signal.aborted) giveUp();
      else this.#look();
    });
  }

  #look(): void {
    this.#lookAgain = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    void this.#rounds();
  }

  async #rounds(): Promise<void> {
    while (this.#lookAgain) {
      this.#lookAgain = false;
      // Whatever else comes at this moment is looked for together.
      await Promise.resolve();
      await this.#round();
    }
    this.#isLooking = false;
  }

  /** Q2. */
  async #round(): Promise<void> {
    const taken = new Set<string>();
    const given: Promise<void>[] = [];
    for (const [name, waiter] of this.#waiters) {
      const isOver = (): boolean => this.#waiters.get(name) !== waiter;
      if (isOver()) continue;
      try {
        const candidates = await this.#candidates(waiter, taken, isOver);
        if (isOver()) continue;
        if (candidates.length > 0) {
          for (const { operationId } of candidates) taken.add(operationId);
          given.push(this.#give(name, waiter, candidates));
        } else if (this.#parts.clock.now().bootMs >= waiter.endsBootMs) waiter.settle(NOTHING);
      } catch (error) {
        waiter.fail(error);
      }
    }
    await Promise.all(given);
  }

  async #candidates(
    waiter: Waiter,
    taken: ReadonlySet<string>,
    isOver: () => boolean,
  ): Promise<readonly Candidate[]> {
    const { journal, executions, clock, pause } = this.#parts;
    this.#search ??= new ClaimSearch({
      queries: journal.reader.claims,
      ownershipOf: (operation) => executions.ownershipOf(operation),
      clock,
      pause,
    });
    const { app, actions: patterns, limit } = waiter;
    const found = await this.#search.find({ app, patterns, limit, taken, isOver });
    if (found.candidates.length === 0) this.#awaitLeases(found.missingLeases, waiter);
    return found.candidates;
  }

  /** Q3. */
  #awaitLeases(resources: ReadonlySet<string>, { endsBootMs }: Waiter): void {
    const { leases, clock } = this.#parts;
    for (const resource of resources) {
      if (this.#leasesAwaited.size >= LEASES_AWAITED_MAX) return;
      const leftMs = endsBootMs - clock.now().bootMs;
      if (leftMs <= 0 || this.#leasesAwaited.has(resource)) continue;
      this.#leasesAwaited.add(resource);
      void leases.settled(resource, leftMs).then(({ lease }) => {
        this.#leasesAwaited.delete(resource);
        if (lease !== null && this.#waiters.size > 0) this.#look();
      });
    }
  }

  async #give(name: string, waiter: Waiter, candidates: readonly Candidate[]): Promise<void> {
    const submitted = this.#submit(waiter, candidates);
    this.#submitting.set(name, submitted);
    try {
      const result = await submitted;
      const isOver = this.#parts.clock.now().bootMs >= waiter.endsBootMs;
      if (result.operations.length > 0 || result.replayed || isOver) waiter.settle(result);
      // All of it went another way meanwhile.
      else this.#lookAgain = true;
    } catch (error) {
      waiter.fail(error);
    } finally {
      this.#submitting.delete(name);
    }
  }

  /** Q1. */
  async #submit(
    call: ClaimCall & { readonly fingerprint: string },
    candidates: readonly Candidate[],
  ): Promise<ClaimResult> {
    const { app, key, fingerprint, limit } = call;
    const answer = await this.#parts.journal.submit({
      type: 'claim',
      app,
      key,
      fingerprint,
      limit,
      candidates,
    });
    if (answer.type !== 'claimed') throw declined(answer, `the claim ${key}`);
    for (const operation of answer.operations) this.#parts.executions.follow(operation);
    return answer;
  }
}
