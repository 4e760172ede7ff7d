/**
 * Asks for the next bundle and waits at control for it, so that a publication is here within a
 * round trip.
 *
 * It opens no outage (only the sync does), polls only while control is in reach, and does not ask
 * again for what was refused here until control has something newer. Where syncs are answered under a
 * key that is not known here it asks once for each of them, without waiting there and under a key that is
 * known: a host that was away while control changed keys learns the new one from such a bundle.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import type { NoticeKeeper } from '../authority/notice-keeper.ts';
import type { PolicyKeeper } from '../authority/policy-keeper.ts';
import { backoffWithFloorMs } from '../core/sync-state.ts';
import type { ControlLink } from './control-link.ts';
import type { Reach } from './reach.ts';
import { Wakeup } from './wakeup.ts';

const BACKOFF_MAX_MS = 30_000;

export type BundlePollerOptions = {
  readonly link: ControlLink;
  readonly policy: PolicyKeeper;
  readonly reach: Reach;
  readonly clock: Clock;
  readonly random: Random;
  readonly waitMs: number;
  /** A revision was put in force or refused: control should hear of it soon. */
  readonly onOutcome: () => void;
  readonly notices: Pick<NoticeKeeper, 'sequence' | 'takePushed'>;
};

type Poll =
  | { readonly kind: 'settled' }
  | { readonly kind: 'again_later'; readonly retryAfterMs: number | null };

export class BundlePoller {
  readonly #options: BundlePollerOptions;
  readonly #answered = new Wakeup();

  constructor(options: BundlePollerOptions) {
    this.#options = options;
  }

  /** Control has answered a sync: there may be something newer than what was refused. */
  noteAnswer(): void {
    this.#answered.wake();
  }

  readonly task: Task = {
    name: 'bundle-poller',
    run: async (signal) => {
      const { clock, policy, random, reach, waitMs } = this.#options;
      let failures = 0;
      while (!signal.aborted) {
        await reach.whenOpenOrForeign(signal);
        if (signal.aborted) return;
        if (reach.isOpen && !policy.wantsBundle()) {
          await this.#answered.wait(clock, waitMs, signal);
          continue;
        }
        const poll = await this.#poll(signal);
        failures = poll.kind === 'settled' ? 0 : failures + 1;
        if (poll.kind === 'settled') continue;
        const { retryAfterMs } = poll;
        const wait = { failures, maxMs: BACKOFF_MAX_MS, retryAfterMs };
        await clock.sleep(backoffWithFloorMs(wait, random.unit()), signal);
      }
    },
  };

  async #poll(signal: AbortSignal): Promise<Poll> {
    const { clock, link, policy, notices, reach } = this.#options;
    const underKnownKey = !reach.isOpen;
    const waitMs = underKnownKey ? 0 : this.#options.waitMs;
    const startedMs = clock.now().bootMs;
    const result = await link.bundle({ waitMs, etag: policy.etag(), underKnownKey }, signal);
    if (result.kind !== 'answer') {
      return {
        kind: 'again_later',
        retryAfterMs: result.kind === 'unreachable' ? result.retryAfterMs : null,
      };
    }
    if (result.payload.kind === 'bundle') {
      const offer = await policy.offer(result.payload);
      if (offer.outcome !== 'unchanged') this.#options.onOutcome();
      return offer.outcome === 'activated'
        ? { kind: 'settled' }
        : { kind: 'again_later', retryAfterMs: null };
    }
    const { payload } = result;
    const isCalled =
      payload.kind === 'not_modified' &&
      (payload.asksSync || payload.noticeSequence > notices.sequence);
    if (isCalled) {
      // What is pushed is obeyed from here on. The rest is signed by nobody: the sync finds out, and
      // confirms; nothing is asked here before it did.
      if (payload.noticesStatement !== null) await notices.takePushed(payload.noticesStatement);
      this.#options.onOutcome();
      await this.#answered.wait(clock, this.#options.waitMs, signal);
      return { kind: 'settled' };
    }
    // A cache on the way may answer at once instead of letting the request wait: that must not
    // become a loop.
    const hasWaited = waitMs > 0 && clock.now().bootMs - startedMs >= waitMs / 2;
    return hasWaited ? { kind: 'settled' } : { kind: 'again_later', retryAfterMs: null };
  }
}
