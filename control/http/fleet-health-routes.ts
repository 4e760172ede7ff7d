/**
 * Health of the whole fleet. A route of its own: `/v1/health` is asked often, by machines, and is to
 * stay small and to answer where the store does not; this one reads every host.
 */
import type { App } from '../../shared/platform/http/app.ts';
import { FleetHealthSchema, type FleetHealth } from '../../shared/wire/fleet-health.ts';
import { viewFleetHealth, type FleetHealthPorts } from '../fleet-health-view.ts';
import type { HealthWatch } from '../health-watch.ts';
import { PROBLEMS } from './route-schemas.ts';

type Ports = FleetHealthPorts & { readonly watch: HealthWatch };

export function installFleetHealthRoutes(app: App, ports: Ports): void {
  app.get(
    '/v1/health/fleet',
    {
      config: { access: { kind: 'operator', role: 'viewer' } },
      schema: {
        summary: 'Health of all hosts together, by plane, with counts, ages and hosts',
        description:
          'From what hosts say with their syncs. A host that is not heard is unknown, never ok.',
        response: { 200: FleetHealthSchema, ...PROBLEMS },
      },
    },
    async () => describeFleetHealth(ports),
  );
}

/** With the times of its parts, which it also remembers. */
export async function describeFleetHealth(ports: Ports): Promise<FleetHealth> {
  const seen = await viewFleetHealth(ports);
  const { memory } = ports.watch;
  return {
    ...seen,
    controlPlane: memory.note('fleet.controlPlane', seen.controlPlane, seen.atMs),
    dataPlane: memory.note('fleet.dataPlane', seen.dataPlane, seen.atMs),
  };
}
