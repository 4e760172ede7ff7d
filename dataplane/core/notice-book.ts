/**
 * The notices that this host has, and whether one speaks against a request.
 *
 * N1  Numbers only go up: an entry counts where it follows one that is held, and is none that is held.
 *     What leaves some out, or comes again, is refused whole (I3).
 * N2  A notice ends by an entry that lifts it, and by nothing else: not by a restart, and not by a
 *     control that has forgotten it.
 */
import {
  NOTICE_REASONS,
  NoticeIndex,
  noticedText,
  type NoticedRequest,
} from '../../shared/core/notice-index.ts';
import type { NoticeEntry, NoticePosition } from '../../shared/wire/notices.ts';

export type HeldNotice = Pick<NoticeEntry, 'noticeId' | 'kind' | 'subject' | 'reason' | 'sequence'>;

export type Noticed = {
  readonly code: (typeof NOTICE_REASONS)[keyof typeof NOTICE_REASONS] | 'notices_unknown';
  readonly detail: string;
  /** `null`: they are damaged. */
  readonly noticeId: string | null;
};

export type Taken =
  | { readonly kind: 'taken'; readonly begun: number; readonly lifted: number }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'refused'; readonly reason: 'gap' | 'disorder'; readonly detail: string };

export class NoticeBook {
  readonly #held = new Map<string, HeldNotice>();
  readonly #index = new NoticeIndex<HeldNotice>();
  #position: NoticePosition = { sequence: 0, entryId: null };

  get position(): NoticePosition {
    return this.#position;
  }

  /** In the order in which they began. */
  notices(): readonly HeldNotice[] {
    return [...this.#held.values()];
  }

  load(kept: { readonly position: NoticePosition; readonly notices: readonly HeldNotice[] }): void {
    this.#position = kept.position;
    for (const notice of kept.notices) this.#begin(notice);
  }

  /** N1: all of them or none. */
  take(entries: readonly NoticeEntry[]): Taken {
    const news = entries.filter(({ sequence }) => sequence > this.#position.sequence);
    const problem = problemOf(entries, news, this.#position.sequence);
    if (problem !== null) return { kind: 'refused', ...problem };
    let [begun, lifted] = [0, 0];
    for (const entry of news) {
      const { noticeId, kind, subject, reason, sequence, entryId } = entry;
      const had = this.#end(noticeId);
      if (entry.inForce) this.#begin({ noticeId, kind, subject, reason, sequence });
      if (entry.inForce && !had) begun += 1;
      if (!entry.inForce && had) lifted += 1;
      this.#position = { sequence, entryId };
    }
    return news.length === 0 ? { kind: 'unchanged' } : { kind: 'taken', begun, lifted };
  }

  /** The one that is to be named; which of several does not matter. */
  against(request: NoticedRequest): Noticed | null {
    const found = this.#index.against(request);
    if (found === null) return null;
    const { noticeId, kind } = found;
    return { code: NOTICE_REASONS[kind], detail: noticedText(found), noticeId };
  }

  #begin(notice: HeldNotice): void {
    this.#held.set(notice.noticeId, notice);
    this.#index.add(notice);
  }

  #end(noticeId: string): boolean {
    const held = this.#held.get(noticeId);
    if (held === undefined) return false;
    this.#held.delete(noticeId);
    this.#index.remove(held);
    return true;
  }
}

/** Fails closed: what is not known to be free of notices is refused until control has been heard. */
export const NOTICES_UNKNOWN: Noticed = {
  code: 'notices_unknown',
  detail:
    'notices.json of this host is damaged: nothing is admitted until control has said them anew',
  noticeId: null,
};

function problemOf(
  entries: readonly NoticeEntry[],
  news: readonly NoticeEntry[],
  held: number,
): { readonly reason: 'gap' | 'disorder'; readonly detail: string } | null {
  let before = 0;
  for (const { sequence, follows } of entries) {
    if (sequence <= before || follows >= sequence || follows < before)
      return { reason: 'disorder', detail: `number ${sequence} comes after ${before}` };
    // Between two of one statement nothing may be left out.
    if (before > 0 && follows !== before)
      return { reason: 'gap', detail: `number ${sequence} follows ${follows}, and not ${before}` };
    before = sequence;
  }
  const [next] = news;
  if (next === undefined || next.follows <= held) return null;
  return {
    reason: 'gap',
    detail: `number ${next.sequence} follows ${next.follows}, and this host has them up to ${held}`,
  };
}
