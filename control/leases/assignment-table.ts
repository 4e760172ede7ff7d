/**
 * Where placement has put each resource, as the syncs of hosts read it. It is a table in memory and
 * gives no right: a grant is decided on the record of the lease all the same. Owners that are there
 * outlive a restart in the leases; the table is made anew from them.
 */
export type Assignment = { readonly resource: string; readonly hostId: string | null };

export class AssignmentTable {
  #byResource: ReadonlyMap<string, string | null> = new Map();
  #byHost: ReadonlyMap<string, readonly string[]> = new Map();
  #onOwners: () => void = () => undefined;

  replace(assignments: readonly Assignment[]): void {
    const byHost = new Map<string, string[]>();
    for (const { resource, hostId } of assignments) {
      if (hostId === null) continue;
      const resources = byHost.get(hostId) ?? [];
      resources.push(resource);
      byHost.set(hostId, resources);
    }
    this.#byResource = new Map(assignments.map(({ resource, hostId }) => [resource, hostId]));
    this.#byHost = byHost;
  }

  assignedTo(hostId: string): readonly string[] {
    return this.#byHost.get(hostId) ?? [];
  }

  /** Those that are placed, each with its host; `null` where it has none yet. */
  placedOf(resources: readonly string[]): ReadonlyMap<string, string | null> {
    const placed = new Map<string, string | null>();
    for (const resource of resources) {
      const hostId = this.#byResource.get(resource);
      if (hostId !== undefined) placed.set(resource, hostId);
    }
    return placed;
  }

  hostOf(resource: string): string | null | undefined {
    return this.#byResource.get(resource);
  }

  /** Who is to know when a lease has changed hands, or ended. */
  onOwners(tell: () => void): void {
    this.#onOwners = tell;
  }

  ownersChanged(): void {
    this.#onOwners();
  }
}
