/** Notices that a test gives by hand, in place of what the sidecar gets from control. */
import type { NoticeAuthority } from '../../dataplane/authority/authority-view.ts';
import { NoticeBook, type Noticed } from '../../dataplane/core/notice-book.ts';
import type { NoticedRequest } from '../../shared/core/notice-index.ts';
import type { NoticeKind } from '../../shared/wire/divergences.ts';

export class FakeNotices implements NoticeAuthority {
  readonly #book = new NoticeBook();

  get isEmpty(): boolean {
    return this.#book.notices().length === 0;
  }

  against(request: Omit<NoticedRequest, 'hostId'>): Noticed | null {
    return this.#book.against({ ...request, hostId: 'host_test' });
  }

  give(kind: NoticeKind, subject: string, inForce = true): void {
    const { sequence: follows } = this.#book.position;
    const sequence = follows + 1;
    const noticeId = `ntc_${kind}`;
    const entry = { sequence, follows, entryId: `e${sequence}`, noticeId, kind, subject };
    this.#book.take([{ ...entry, reason: 'told so', inForce, atMs: 0 }]);
  }
}
