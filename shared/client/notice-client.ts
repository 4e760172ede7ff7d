/** The part of the control client that is about notices: `client.notices`. */
import type { NoticeDetail, NoticeRequest, NoticeView } from '../wire/notices.ts';
import type { JsonCaller } from './json-caller.ts';

type Page<T> = { readonly items: readonly T[]; readonly nextCursor: string | null };

export class NoticeClient {
  readonly #caller: JsonCaller;

  constructor(caller: JsonCaller) {
    this.#caller = caller;
  }

  /** Newest first. */
  list(
    query: {
      readonly inForce?: boolean;
      readonly limit?: number;
      readonly cursor?: string;
    } = {},
  ): Promise<Page<NoticeView>> {
    const { inForce, limit, cursor } = query;
    return this.#caller.body({
      method: 'GET',
      path: '/v1/notices',
      query: {
        inForce: inForce === undefined ? undefined : String(inForce),
        limit: limit === undefined ? undefined : String(limit),
        cursor,
      },
    });
  }

  /** Which hosts obey it, and until when the others could still act against it. */
  fetch(noticeId: string): Promise<NoticeDetail> {
    return this.#caller.body({ method: 'GET', path: pathOf(noticeId) });
  }

  /** The same again while it is in force, as after an `UnreachableError`, is the same notice. */
  record(notice: NoticeRequest): Promise<NoticeDetail> {
    return this.#caller.body({ method: 'POST', path: '/v1/notices', body: notice });
  }

  lift(noticeId: string, reason: string): Promise<NoticeDetail> {
    return this.#caller.body({
      method: 'POST',
      path: `${pathOf(noticeId)}:lift`,
      body: { reason },
    });
  }
}

const pathOf = (noticeId: string): string => `/v1/notices/${encodeURIComponent(noticeId)}`;
