/** How the parts of a plane make its verdict (DESIGN 8). One part in order never hides another. */
import type { HealthPart, PlaneHealth } from '../wire/health.ts';

/** Of one part of the fleet's health; the rest are counted. */
export const FLEET_HOSTS_SHOWN = 10;

export type PlaneParts = Readonly<Record<string, HealthPart>>;

/**
 * The worst part decides: `failed` is down, `degraded` is impaired. What is not known makes the
 * verdict unknown, never ok: nobody is to read silence as health.
 */
export function judgePlane<T extends HealthPart>(
  parts: Readonly<Record<string, T>>,
  whenOk: string,
): Omit<PlaneHealth, 'parts'> & { parts: Record<string, T> } {
  const troubled = WORST_FIRST.flatMap(([state]) =>
    Object.entries(parts).filter(([, part]) => part.state === state),
  );
  const worst = troubled[0]?.[1].state;
  const verdict = WORST_FIRST.find(([state]) => state === worst)?.[1] ?? 'ok';
  const summary = troubled.map(([name, { detail }]) => `${name}: ${detail}`).join('; ');
  return { verdict, summary: summary === '' ? whenOk : summary, parts: { ...parts } };
}

const WORST_FIRST = [
  ['failed', 'down'],
  ['degraded', 'impaired'],
  ['unknown', 'unknown'],
] as const;

/** The times that a part does not know itself are filled in by `health-memory.ts`. */
export function healthPart(
  state: HealthPart['state'],
  detail: string,
  known: Partial<HealthPart> = {},
): HealthPart {
  return {
    state,
    detail,
    sinceMs: null,
    lastSuccessMs: null,
    lastError: null,
    lastErrorMs: null,
    ...known,
  };
}
