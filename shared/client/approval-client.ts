/** The part of the control client that is about approvals: `client.approvals`. */
import type {
  ApprovalDetail,
  ApprovalRequest,
  ApprovalVerb,
  ApprovalVerdictRequest,
  RequestState,
} from '../wire/approval.ts';
import type { JsonCaller } from './json-caller.ts';

type Page<T> = { readonly items: readonly T[]; readonly nextCursor: string | null };

export class ApprovalClient {
  readonly #caller: JsonCaller;

  constructor(caller: JsonCaller) {
    this.#caller = caller;
  }

  /** Newest first. */
  list(
    query: {
      readonly state?: RequestState;
      readonly limit?: number;
      readonly cursor?: string;
    } = {},
  ): Promise<Page<ApprovalRequest>> {
    const { state, limit, cursor } = query;
    return this.#caller.body({
      method: 'GET',
      path: '/v1/approvals',
      query: { state, limit: limit === undefined ? undefined : String(limit), cursor },
    });
  }

  /** What is asked for, what the policy in force says of it, and what it could touch. */
  fetch(requestId: string): Promise<ApprovalDetail> {
    return this.#caller.body({ method: 'GET', path: pathOf(requestId) });
  }

  /**
   * Says it once: the same again, as after an `UnreachableError`, is the same vote. `digest` is the
   * `payloadDigest` that was looked at.
   */
  decide(
    requestId: string,
    verb: ApprovalVerb,
    verdict: ApprovalVerdictRequest,
  ): Promise<ApprovalRequest> {
    return this.#caller.body({
      method: 'POST',
      path: `${pathOf(requestId)}:${verb}`,
      body: verdict,
    });
  }
}

const pathOf = (requestId: string): string => `/v1/approvals/${encodeURIComponent(requestId)}`;
