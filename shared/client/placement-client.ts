/** The part of the control client that is about placement: `client.placement`. */
import type {
  HostSettingsView,
  Labels,
  PlacementBrakeView,
  PlacementEntry,
  PlacementExplanation,
  PlacementGroup,
  PlacementGroupSpec,
  PlacementPlan,
} from '../wire/placement-api.ts';
import type { JsonCaller } from './json-caller.ts';

type Items<T> = { readonly items: readonly T[] };

export class PlacementClient {
  readonly #caller: JsonCaller;

  constructor(caller: JsonCaller) {
    this.#caller = caller;
  }

  async groups(): Promise<readonly PlacementGroup[]> {
    const path = '/v1/placement/groups';
    return (await this.#caller.body<Items<PlacementGroup>>({ method: 'GET', path })).items;
  }

  group(name: string): Promise<PlacementGroup> {
    return this.#caller.body({ method: 'GET', path: groupPath(name) });
  }

  /** `replaces`: the revision that was read; `null` for a new group. Else `group_conflict`. */
  putGroup(
    name: string,
    spec: PlacementGroupSpec,
    options: { readonly replaces: number | null },
  ): Promise<PlacementGroup> {
    const { replaces } = options;
    const headers: Record<string, string> =
      replaces === null ? { 'if-none-match': '*' } : { 'if-match': `"${replaces}"` };
    return this.#caller.body({ method: 'PUT', path: groupPath(name), headers, body: spec });
  }

  async deleteGroup(name: string, options: { readonly replaces: number }): Promise<void> {
    const headers = { 'if-match': `"${options.replaces}"` };
    await this.#caller.call({ method: 'DELETE', path: groupPath(name), headers });
  }

  plan(group: string): Promise<PlacementPlan> {
    return this.#caller.body({ method: 'GET', path: '/v1/placement/plan', query: { group } });
  }

  /** As it would be with this group; nothing is done. */
  planFor(group: {
    readonly name: string;
    readonly spec: PlacementGroupSpec;
  }): Promise<PlacementPlan> {
    return this.#caller.body({ method: 'POST', path: '/v1/placement/plan', body: group });
  }

  async assignments(group: string): Promise<readonly PlacementEntry[]> {
    const path = '/v1/placement/assignments';
    const call = { method: 'GET', path, query: { group } } as const;
    return (await this.#caller.body<Items<PlacementEntry>>(call)).items;
  }

  explain(resource: string): Promise<PlacementExplanation> {
    const path = `/v1/placement/assignments/${encodeURIComponent(resource)}`;
    return this.#caller.body({ method: 'GET', path });
  }

  /** Takes the silent hosts for lost: their shards are placed elsewhere. */
  releaseBrake(): Promise<{ readonly brake: PlacementBrakeView | null }> {
    return this.#caller.body({ method: 'POST', path: '/v1/placement/brake:release' });
  }

  hostSettings(host: string): Promise<HostSettingsView> {
    return this.#caller.body({ method: 'GET', path: `${hostPath(host)}/settings` });
  }

  setLabels(host: string, labels: Labels): Promise<HostSettingsView> {
    return this.#caller.body({ method: 'PUT', path: `${hostPath(host)}/labels`, body: labels });
  }

  drainHost(host: string, request: { readonly reason?: string } = {}): Promise<HostSettingsView> {
    return this.#caller.body({ method: 'POST', path: `${hostPath(host)}:drain`, body: request });
  }

  undrainHost(host: string): Promise<HostSettingsView> {
    return this.#caller.body({ method: 'POST', path: `${hostPath(host)}:undrain` });
  }
}

const groupPath = (name: string): string => `/v1/placement/groups/${encodeURIComponent(name)}`;
const hostPath = (host: string): string => `/v1/hosts/${encodeURIComponent(host)}`;
