/**
 * Records refusals by limits without letting a flood of them become a flood of commits that work
 * which is accepted would wait for.
 *
 * V1  The first refusal of a rule for a reason is recorded before it is answered, as all are.
 * V2  Those of the second after it are answered at once and counted; one record stands for them,
 *     written when the second is over, and they name it. A kill within that second loses the count,
 *     and nothing that was admitted.
 */
import { SECOND_MS } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Refusal } from '../../shared/wire/operation.ts';

type Gathered = { last: Refusal | null; readonly refusalId: string; count: number };

export class LimitRefusals {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #record: (refusal: Refusal) => Promise<unknown>;
  readonly #makeId: () => string;
  readonly #gathered = new Map<string, Gathered>();

  constructor(parts: {
    clock: Clock;
    logger: Logger;
    record: (refusal: Refusal) => Promise<unknown>;
    makeId: () => string;
  }) {
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#record = parts.record;
    this.#makeId = parts.makeId;
  }

  /** The id of the record that it is in, or will be. */
  async add(refusal: Refusal): Promise<string> {
    const of = `${refusal.rule}\n${refusal.reason}`;
    const gathered = this.#gathered.get(of);
    if (gathered !== undefined) {
      gathered.last = refusal;
      gathered.count += 1;
      return gathered.refusalId;
    }
    this.#gatherSecond(of);
    await this.#record(refusal);
    return refusal.refusalId;
  }

  #gatherSecond(of: string): void {
    const gathered: Gathered = { last: null, refusalId: this.#makeId(), count: 0 };
    this.#gathered.set(of, gathered);
    this.#clock.startTimer(SECOND_MS, () => {
      this.#gathered.delete(of);
      const { last, refusalId, count } = gathered;
      if (last === null) return;
      this.#gatherSecond(of);
      this.#record({ ...last, refusalId, count }).catch((error: unknown) =>
        this.#logger.warn({ err: error, count }, 'refusals by a limit could not be recorded'),
      );
    });
  }
}
