/**
 * What was seen of the owners of one resource, and what that proves. All times are of this program's
 * monotonic clock.
 *
 * A sidecar that says it holds the lease, with so much left, believed so at some moment between the
 * question and its answer, and will until that time is over unless it says otherwise before. Two
 * such stretches that meet prove two owners at once; from what was not asked nothing is proved.
 */
import { checkFence } from '../../../shared/core/lease.ts';
import { lie, type Lie } from '../check/lie.ts';

export type Seen = {
  readonly holder: string;
  /** `null`: it does not hold it. */
  readonly epoch: number | null;
  readonly remainingMs: number;
  readonly askedMs: number;
  readonly answeredMs: number;
};

export type Belief = {
  readonly holder: string;
  readonly epoch: number;
  /** First seen: it was so at a moment between these two. */
  readonly firstAskedMs: number;
  readonly firstAnsweredMs: number;
  untilMs: number;
};

type Write = {
  readonly holder: string;
  readonly epoch: number;
  readonly atMs: number;
  readonly isAccepted: boolean;
};

export class OwnershipRecord {
  readonly beliefs: Belief[] = [];
  readonly writes: Write[] = [];
  readonly #open = new Map<string, Belief>();
  #highestEpoch: number | null = null;

  /** The clock of a sidecar was moved: how long it said it would believe means nothing. */
  forgetPromises(holder: string, nowMs: number): void {
    const open = this.#open.get(holder);
    if (open !== undefined) open.untilMs = Math.min(open.untilMs, nowMs);
    this.#open.delete(holder);
  }

  see({ holder, epoch, remainingMs, askedMs, answeredMs }: Seen): void {
    const open = this.#open.get(holder);
    if (open !== undefined && open.epoch !== epoch) {
      open.untilMs = Math.min(open.untilMs, askedMs);
      this.#open.delete(holder);
    }
    if (epoch === null) return;
    const untilMs = askedMs + remainingMs;
    const known = this.#open.get(holder);
    if (known !== undefined) {
      known.untilMs = Math.max(known.untilMs, untilMs);
      return;
    }
    const belief = {
      holder,
      epoch,
      firstAskedMs: askedMs,
      firstAnsweredMs: answeredMs,
      untilMs,
    };
    this.#open.set(holder, belief);
    this.beliefs.push(belief);
  }

  /** The target: it compares the token with the highest that it has seen. */
  write(holder: string, epoch: number, atMs: number): boolean {
    const verdict = checkFence(this.#highestEpoch, epoch);
    this.#highestEpoch = verdict.highestEpoch;
    this.writes.push({ holder, epoch, atMs, isAccepted: verdict.accepted });
    return verdict.accepted;
  }

  get highestEpoch(): number {
    return this.#highestEpoch ?? 0;
  }

  lies(): Lie[] {
    return [...this.#overlaps(), ...this.#sharedEpochs(), ...this.#stepsBack()];
  }

  /** I7. */
  #overlaps(): Lie[] {
    return this.beliefs.flatMap((a) =>
      this.beliefs.flatMap((b) => {
        const isBoth =
          a.holder !== b.holder &&
          b.firstAskedMs >= a.firstAskedMs &&
          b.firstAnsweredMs < a.untilMs;
        if (!isBoth) return [];
        const overlapMs = Math.round(a.untilMs - b.firstAnsweredMs);
        const detail =
          `${a.holder} held epoch ${a.epoch} for ${overlapMs} ms more when ${b.holder} held ` +
          `epoch ${b.epoch}`;
        return [lie('doubled', 'owner', detail)];
      }),
    );
  }

  /** I6. */
  #sharedEpochs(): Lie[] {
    const holders = Map.groupBy(this.beliefs, ({ epoch }) => epoch);
    return [...holders].flatMap(([epoch, those]) => {
      const names = new Set(those.map(({ holder }) => holder));
      if (names.size < 2) return [];
      return [lie('doubled', `epoch ${epoch}`, `held by ${[...names].join(' and ')}`)];
    });
  }

  /** I6, once more over what was kept. */
  #stepsBack(): Lie[] {
    let highest = 0;
    return this.writes.flatMap(({ holder, epoch, isAccepted }) => {
      if (!isAccepted) return [];
      const before = highest;
      highest = Math.max(highest, epoch);
      if (epoch >= before) return [];
      return [lie('went_back', holder, `a write under ${epoch} was accepted after ${before}`)];
    });
  }
}
