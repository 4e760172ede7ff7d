/** The part of the control client that is about divergences: `client.divergences`. */
import type {
  Divergence,
  DivergenceDetail,
  DivergenceState,
  Divergences,
  ResolutionVerdict,
} from '../wire/divergences.ts';
import type { JsonCaller } from './json-caller.ts';

export class DivergenceClient {
  readonly #caller: JsonCaller;

  constructor(caller: JsonCaller) {
    this.#caller = caller;
  }

  /** Newest first; `reevaluation` says whether all that was reported has been looked at. */
  list(
    query: {
      readonly outage?: string;
      readonly host?: string;
      readonly state?: DivergenceState;
      readonly limit?: number;
      readonly cursor?: string;
    } = {},
  ): Promise<Divergences> {
    return this.#caller.body({ method: 'GET', path: '/v1/divergences', query });
  }

  show(divergenceId: string): Promise<DivergenceDetail> {
    return this.#caller.body({ method: 'GET', path: pathOf(divergenceId) });
  }

  /** `divergence_settled` where somebody has said something else. */
  resolve(
    divergenceId: string,
    said: { readonly verdict: ResolutionVerdict; readonly reason: string },
  ): Promise<Divergence> {
    return this.#caller.body({
      method: 'POST',
      path: `${pathOf(divergenceId)}:resolve`,
      body: said,
    });
  }
}

const pathOf = (divergenceId: string): string =>
  `/v1/divergences/${encodeURIComponent(divergenceId)}`;
