/**
 * One attempt, run by a function of the app.
 *
 * R1  An effect is run only after the sidecar has recorded that it begins; what came of it is recorded
 *     whatever has happened since. A function that throws leaves an effect `unknown`, unless it
 *     throws `EffectFailedError`, which says that nothing was done (I9).
 * R2  The signal is aborted as soon as this worker may not go on: it was told so, or the time is over.
 * R3  A run that was stopped reports no outcome of its own: whoever stopped it decides what follows.
 * R4  Each question has a key of its own, and is asked again under it while no answer comes.
 */
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import type { ErrorCode } from './error-table.ts';
import { patiently, type Patience } from './patience.ts';
import { ProblemError } from './problem-error.ts';
import {
  EffectFailedError,
  EffectUnknownError,
  OperationEndedError,
  RunStoppedError,
} from './run-errors.ts';
import type { Attempt, Operation } from './sidecar-shapes.ts';
import type { Settlement, WorkCalls } from './work-calls.ts';

const REASON_LENGTH_MAX = 500;
/** The sidecar takes 32 KiB; the rest is for what is around it. */
const RESULT_BYTES_MAX = 32_000;
const STEP_WAITS_FOR: readonly ErrorCode[] = ['lease_absent', 'lease_expired'];
/** What a heartbeat can be answered with that ends the run. */
const STOPPING: readonly ErrorCode[] = [
  'attempt_stale',
  'attempt_not_found',
  'operation_not_found',
  'operation_settled',
  'operation_paused',
  'operation_not_executing',
  'deadline_passed',
  'lease_lost',
  'stale_owner',
];

export type EffectContext = {
  /** The same for every try of this effect: give it to the target. */
  readonly idempotencyKey: string;
  /** Give it to a target that compares tokens; `null` where no lease is needed. */
  readonly fencingToken: { readonly resource: string; readonly epoch: number } | null;
  readonly signal: AbortSignal;
};
export type EffectOptions = {
  /** What the rule must say of it, so that app and policy cannot drift apart in silence. */
  readonly idempotent?: boolean;
};

export type RunContext = {
  readonly operation: Operation;
  readonly attempt: number;
  /** Aborted with a `RunStoppedError` when this worker may not go on. */
  readonly signal: AbortSignal;
  readonly fencingToken: EffectContext['fencingToken'];
  /** As it was saved last, by whichever attempt. */
  readonly savedCheckpoint: unknown;
  /** The lease is being handed over: come to an end, or save a checkpoint. */
  readonly isDraining: boolean;
  /**
   * Runs `work` once: what was recorded of it before is returned instead. Throws `EffectUnknownError`
   * where nobody knows whether it was done.
   */
  effect<T>(
    name: string,
    options: EffectOptions,
    work: (effect: EffectContext) => Promise<T> | T,
  ): Promise<T>;
  /** Durable when it resolves. */
  checkpoint(value: unknown): Promise<void>;
};
export type RunHandler<T> = (ctx: RunContext) => Promise<T> | T;

export type RunParts = {
  readonly calls: WorkCalls;
  readonly clock: Clock;
  readonly random: Random;
  readonly patience: Omit<Patience, 'signal'>;
  /** Names this run among all others. */
  readonly runKey: string;
};

export class AttemptRun {
  readonly #parts: RunParts;
  readonly #operation: Operation;
  readonly #attempt: Attempt;
  readonly #stop = new AbortController();
  readonly #ended = new AbortController();
  readonly #inHand = new Set<string>();
  #begun = 0;
  #isDraining = false;
  #checkpoint: unknown;

  constructor(parts: RunParts, operation: Operation, attempt: Attempt) {
    this.#parts = parts;
    this.#operation = operation;
    this.#attempt = attempt;
    this.#checkpoint = attempt.checkpoint;
  }

  /** R2. */
  stop(code: string, detail: string): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(new RunStoppedError(code, detail));
  }

  /** Returns what `handler` returned, once that is on record. */
  async execute<T>(handler: RunHandler<T>): Promise<T> {
    const { clock } = this.#parts;
    const deadline = clock.startTimer(this.#attempt.remainingMs, () =>
      this.stop('deadline_passed', 'the deadline of the operation has passed'),
    );
    const beating = this.#beat();
    try {
      let value: T;
      try {
        value = await handler(this.#context());
        if (!fits(value)) throw tooLarge('the run');
      } catch (error) {
        throw await this.#reportFailure(error);
      }
      await this.#report({ outcome: 'succeeded', result: value ?? null });
      return value;
    } finally {
      deadline.cancel();
      this.#ended.abort();
      await beating;
    }
  }

  #context(): RunContext {
    const checkpoint = (): unknown => this.#checkpoint;
    const isDraining = (): boolean => this.#isDraining;
    return {
      operation: this.#operation,
      attempt: this.#attempt.attempt,
      signal: this.#stop.signal,
      fencingToken: this.#token(this.#attempt.leaseEpoch),
      get savedCheckpoint() {
        return checkpoint();
      },
      get isDraining() {
        return isDraining();
      },
      effect: (name, options, work) => this.#effect(name, options, work),
      checkpoint: (value) => this.#saveCheckpoint(value),
    };
  }

  #token(epoch: number | null): EffectContext['fencingToken'] {
    const { leaseResource } = this.#attempt;
    return leaseResource === null || epoch === null ? null : { resource: leaseResource, epoch };
  }

  async #beat(): Promise<void> {
    const { clock, calls } = this.#parts;
    const ended = this.#ended.signal;
    for (;;) {
      await clock.sleep(this.#attempt.heartbeatIntervalMs, ended);
      if (ended.aborted || this.#stop.signal.aborted) return;
      try {
        const { leaseLost, leaseDraining } = await calls.heartbeat(this.#attempt);
        this.#isDraining = leaseDraining;
        if (leaseLost) this.stop('lease_lost', 'the lease of the attempt is gone: begin nothing');
      } catch (error) {
        // One that gets no answer says nothing: the next one asks again.
        if (error instanceof ProblemError && error.is(...STOPPING))
          this.stop(error.code, error.message);
      }
    }
  }

  /** R1. */
  async #effect<T>(
    name: string,
    { idempotent }: EffectOptions,
    work: (effect: EffectContext) => Promise<T> | T,
  ): Promise<T> {
    this.#stop.signal.throwIfAborted();
    const terms = this.#operation.effectTerms[name];
    if (idempotent !== undefined && terms !== undefined && terms.idempotent !== idempotent) {
      throw new TypeError(
        `effect ${name} is called with idempotent: ${idempotent}, and rule ${this.#operation.rule} says ${terms.idempotent}: make them one`,
      );
    }
    if (this.#inHand.has(name))
      throw new TypeError(
        `effect ${name} is under way in this run: await it before it is called again`,
      );
    this.#inHand.add(name);
    try {
      const step = { ...this.#step(), effect: name };
      const key = `${this.#parts.runKey}.${(this.#begun += 1)}`;
      const begun = await this.#patiently(() => this.#parts.calls.beginEffect(step, key), true);
      if (begun.replayed) return begun.effect.result as T;
      return await this.#run(step, work, {
        idempotencyKey: begun.idempotencyKey,
        fencingToken: this.#token(begun.leaseEpoch),
        signal: this.#stop.signal,
      });
    } finally {
      this.#inHand.delete(name);
    }
  }

  async #run<T>(
    step: { operationId: string; attempt: number; effect: string },
    work: (effect: EffectContext) => Promise<T> | T,
    context: EffectContext,
  ): Promise<T> {
    const settle = (settlement: Settlement): Promise<unknown> =>
      this.#patiently(() => this.#parts.calls.settleEffect(step, settlement), false);
    let value: T;
    try {
      value = await work(context);
    } catch (error) {
      if (error instanceof EffectFailedError) {
        await settle({ outcome: 'failed', result: fits(error.result) ? error.result : null });
        throw error;
      }
      const unknown = new EffectUnknownError(step.effect, error);
      await settle({ outcome: 'unknown', result: { detail: shorten(unknown.message) } });
      throw unknown;
    }
    // It was done: that is recorded, also where what it gave back cannot be.
    const isKept = fits(value);
    await settle({ outcome: 'succeeded', result: isKept ? (value ?? null) : null });
    if (!isKept) throw tooLarge(`effect ${step.effect}`);
    return value;
  }

  async #saveCheckpoint(value: unknown): Promise<void> {
    this.#stop.signal.throwIfAborted();
    await this.#patiently(() => this.#parts.calls.heartbeat(this.#step(), { value }), true);
    this.#checkpoint = value;
  }

  /** The error that the caller is to get. */
  async #reportFailure(error: unknown): Promise<unknown> {
    const isUnknown = error instanceof EffectUnknownError;
    // R3.
    if (this.#stop.signal.aborted && !isUnknown) return this.#stop.signal.reason;
    const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const reason = shorten(said);
    try {
      await this.#report({ outcome: isUnknown ? 'unknown' : 'failed', reason });
    } catch (refusal) {
      const isOpen =
        refusal instanceof ProblemError && refusal.is('effect_unknown', 'effect_in_progress');
      if (isOpen) await this.#report({ outcome: 'unknown', reason });
      // What the run has failed by says more than that it could not be told.
    }
    return error;
  }

  async #report(outcome: Settlement & { reason?: string }): Promise<void> {
    const ask = (): Promise<Operation> => this.#parts.calls.reportOutcome(this.#step(), outcome);
    const { state, ...rest } = await this.#patiently(ask, false);
    if (outcome.outcome === 'succeeded' && state !== 'succeeded')
      throw new OperationEndedError({ ...rest, state });
  }

  #step(): { operationId: string; attempt: number } {
    return { operationId: this.#attempt.operationId, attempt: this.#attempt.attempt };
  }

  /** R4. `isNew`: it begins something, and is given up where the run is stopped. */
  #patiently<T>(ask: () => Promise<T>, isNew: boolean): Promise<T> {
    const { patience } = this.#parts;
    return patiently(ask, this.#parts, {
      ...patience,
      ...(isNew
        ? {
            signal: this.#stop.signal,
            alsoRetry: [...STEP_WAITS_FOR, ...(patience.alsoRetry ?? [])],
          }
        : {}),
    });
  }
}

function fits(value: unknown): boolean {
  try {
    const text = JSON.stringify(value ?? null);
    return new TextEncoder().encode(text).byteLength <= RESULT_BYTES_MAX;
  } catch {
    return false;
  }
}

function tooLarge(what: string): TypeError {
  return new TypeError(
    `what ${what} gave back is no JSON of at most ${RESULT_BYTES_MAX} bytes: keep it elsewhere, and give back where it is`,
  );
}

function shorten(text: string): string {
  return text.slice(0, REASON_LENGTH_MAX) || 'no reason given';
}
