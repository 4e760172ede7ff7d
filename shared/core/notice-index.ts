/**
 * Whether a notice speaks against a request. A word with `*` at its end stands for all that begin so;
 * only actions and resources have such ones.
 *
 * What a lookup costs does not grow with the notices: a word is looked up whole, and once for each
 * length that a `*` of a notice leaves.
 */
import type { NoticeKind } from '../wire/divergences.ts';

/** Why a host refuses what a notice speaks against. */
export const NOTICE_REASONS = {
  revoke_principal: 'principal_revoked',
  revoke_credential: 'credential_revoked',
  kill_action: 'action_killed',
  hold_resource: 'resource_held',
} as const satisfies Record<NoticeKind, string>;

export type IndexedNotice = {
  readonly noticeId: string;
  readonly kind: NoticeKind;
  readonly subject: string;
};

export type NoticedRequest = {
  readonly hostId: string;
  /** `null`: not known here. */
  readonly app: string | null;
  readonly principal: string;
  readonly action: string;
  readonly resourceId: string;
};

type Subjects<T> = Map<string, Map<string, T>>;

/** Those of one kind, by what they are about. */
class OfKind<T extends IndexedNotice> {
  readonly #whole: Subjects<T> = new Map();
  readonly #prefixes: Subjects<T> = new Map();
  /** How many prefixes there are of each length. */
  readonly #lengths = new Map<number, number>();

  add(notice: T): void {
    const { subjects, word } = this.#place(notice.subject);
    let same = subjects.get(word);
    if (same === undefined) {
      subjects.set(word, (same = new Map()));
      if (subjects === this.#prefixes) this.#count(word.length, 1);
    }
    same.set(notice.noticeId, notice);
  }

  remove({ noticeId, subject }: T): void {
    const { subjects, word } = this.#place(subject);
    const same = subjects.get(word);
    same?.delete(noticeId);
    if (same?.size !== 0) return;
    subjects.delete(word);
    if (subjects === this.#prefixes) this.#count(word.length, -1);
  }

  find(word: string): T | null {
    const whole = first(this.#whole.get(word));
    if (whole !== null) return whole;
    for (const length of this.#lengths.keys()) {
      const found = length <= word.length ? first(this.#prefixes.get(word.slice(0, length))) : null;
      if (found !== null) return found;
    }
    return null;
  }

  #place(subject: string): { subjects: Subjects<T>; word: string } {
    if (subject.endsWith('*')) return { subjects: this.#prefixes, word: subject.slice(0, -1) };
    return { subjects: this.#whole, word: subject };
  }

  #count(length: number, change: 1 | -1): void {
    const left = (this.#lengths.get(length) ?? 0) + change;
    if (left === 0) this.#lengths.delete(length);
    else this.#lengths.set(length, left);
  }
}

export class NoticeIndex<T extends IndexedNotice> {
  readonly #kinds: Record<NoticeKind, OfKind<T>> = {
    revoke_principal: new OfKind(),
    revoke_credential: new OfKind(),
    kill_action: new OfKind(),
    hold_resource: new OfKind(),
  };
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** It is not there yet. */
  add(notice: T): void {
    this.#kinds[notice.kind].add(notice);
    this.#size += 1;
  }

  /** It is there. */
  remove(notice: T): void {
    this.#kinds[notice.kind].remove(notice);
    this.#size -= 1;
  }

  /** The one that is to be named; which of several does not matter. */
  against({ hostId, app, principal, action, resourceId }: NoticedRequest): T | null {
    if (this.#size === 0) return null;
    const { revoke_principal, revoke_credential, kill_action, hold_resource } = this.#kinds;
    return (
      revoke_principal.find(principal) ??
      (app === null ? null : revoke_credential.find(`app:${app}`)) ??
      revoke_credential.find(`host:${hostId}`) ??
      kill_action.find(action) ??
      hold_resource.find(resourceId)
    );
  }
}

function first<T>(same: Map<string, T> | undefined): T | null {
  return same?.values().next().value ?? null;
}

/** Why a request was refused, in the same words by control and by a host. */
export function noticedText({
  noticeId,
  kind,
  subject,
  reason,
}: IndexedNotice & { readonly reason: string }): string {
  return `notice ${noticeId} (${kind} ${subject}) speaks against it: ${reason}`;
}
