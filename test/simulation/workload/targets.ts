/**
 * The outside world that effects are done to. A target keeps the highest epoch that it has seen of
 * each resource, takes nothing below it where it is one that compares tokens, and does nothing twice
 * under one idempotency key where the effect says that it can be asked twice. Of an operation of which
 * it was said that nothing was done, nothing is done later either.
 */
import type { Attempt, EffectAnswer } from '../../../shared/wire/sidecar-api.ts';
import type { EffectVerdict, EventDraft } from '../history.ts';
import type { HistoryLog } from '../engine/history-log.ts';

type ArrivingEffect = Omit<
  Extract<EventDraft, { kind: 'effect_arrived' }>,
  'kind' | 'target' | 'verdict' | 'highestEpochBefore'
>;

export class Targets {
  readonly #log: HistoryLog;
  readonly #highest = new Map<string, number>();
  readonly #taken = new Set<string>();
  readonly #done = new Set<string>();
  readonly #closed = new Set<string>();

  constructor(log: HistoryLog) {
    this.#log = log;
  }

  /** By any attempt. */
  hasTaken(operationId: string, effect: string): boolean {
    return this.#done.has(`${operationId} ${effect}`);
  }

  close(operationId: string): void {
    this.#closed.add(operationId);
  }

  /** What a worker of that host sends, once it was told that the effect has begun. */
  take(host: string, { leaseResource }: Attempt, begun: EffectAnswer): EffectVerdict {
    const { operationId, attempt, effect, leaseEpoch, idempotencyKey } = begun;
    return this.#take(effect.name, {
      host,
      operationId,
      attempt,
      effect: effect.name,
      idempotencyKey,
      resource: leaseResource,
      epoch: leaseEpoch,
      isIdempotent: effect.idempotent,
      fencing: effect.fencing,
    });
  }

  #take(target: string, effect: ArrivingEffect): EffectVerdict {
    const { resource, epoch, fencing, isIdempotent, idempotencyKey } = effect;
    const place = `${target} ${resource ?? ''}`;
    const before = this.#highest.get(place) ?? null;
    const verdict = ((): EffectVerdict => {
      if (this.#closed.has(effect.operationId)) return 'closed';
      if (fencing === 'enforced' && epoch !== null && before !== null && epoch < before)
        return 'stale_epoch';
      return isIdempotent && this.#taken.has(`${target} ${idempotencyKey}`)
        ? 'taken_before'
        : 'taken';
    })();
    const isTaken = verdict === 'taken' || verdict === 'taken_before';
    if (isTaken) this.#done.add(`${effect.operationId} ${effect.effect}`);
    if (isTaken && epoch !== null && resource !== null)
      this.#highest.set(place, Math.max(before ?? 0, epoch));
    if (verdict === 'taken') this.#taken.add(`${target} ${idempotencyKey}`);
    this.#log.add({
      kind: 'effect_arrived',
      target,
      ...effect,
      verdict,
      highestEpochBefore: before,
    });
    return verdict;
  }
}
