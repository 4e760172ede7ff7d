/**
 * The outside world that effects are done to. A target keeps the highest epoch that it has seen of
 * each resource, takes nothing below it where it is one that compares tokens, and does nothing twice
 * under one idempotency key where the effect says that it can be asked twice.
 */
import type { EffectVerdict, EventDraft } from '../history.ts';
import type { HistoryLog } from '../engine/history-log.ts';

export type ArrivingEffect = Omit<
  Extract<EventDraft, { kind: 'effect_arrived' }>,
  'kind' | 'target' | 'verdict' | 'highestEpochBefore'
>;

export class Targets {
  readonly #log: HistoryLog;
  readonly #highest = new Map<string, number>();
  readonly #taken = new Set<string>();

  constructor(log: HistoryLog) {
    this.#log = log;
  }

  take(target: string, effect: ArrivingEffect): EffectVerdict {
    const { resource, epoch, fencing, isIdempotent, idempotencyKey } = effect;
    const place = `${target} ${resource ?? ''}`;
    const before = this.#highest.get(place) ?? null;
    const verdict = ((): EffectVerdict => {
      if (fencing === 'enforced' && epoch !== null && before !== null && epoch < before)
        return 'stale_epoch';
      return isIdempotent && this.#taken.has(`${target} ${idempotencyKey}`)
        ? 'taken_before'
        : 'taken';
    })();
    if (verdict !== 'stale_epoch' && epoch !== null && resource !== null)
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
