/**
 * Since when each part of a plane is as it is, when it was last in order, and what last troubled it.
 *
 * P1  `sinceMs` is of the state: another detail in the same state does not begin it anew. What a
 *     part knows itself (an outage has its own beginning) goes before what was seen here.
 * P2  `lastSuccessMs` and `lastError` outlive the state: a part that is well again still says what
 *     its last trouble was and when it was last seen, and one in trouble when it was last well.
 * P3  It remembers what it was shown. Whoever keeps it looks at regular intervals, so a time is as
 *     true as those are long, and begins with the process.
 */
import type { HealthPart, PlaneHealth } from '../wire/health.ts';
import type { WallMs } from './time.ts';

type Times = Pick<HealthPart, 'state' | 'sinceMs' | 'lastSuccessMs' | 'lastError' | 'lastErrorMs'>;

export class HealthMemory {
  readonly #held = new Map<string, Times>();

  /** The plane with the times of its parts filled in; remembers them. */
  note<T extends HealthPart>(
    plane: string,
    health: Omit<PlaneHealth, 'parts'> & { readonly parts: Readonly<Record<string, T>> },
    nowMs: WallMs,
  ): Omit<PlaneHealth, 'parts'> & { parts: Record<string, T> } {
    const parts = Object.entries(health.parts).map(([name, part]) => {
      const times = timesOf(this.#held.get(`${plane}.${name}`), part, nowMs);
      this.#held.set(`${plane}.${name}`, times);
      return [name, { ...part, ...times }] as const;
    });
    return { ...health, parts: Object.fromEntries(parts) };
  }
}

function timesOf(held: Times | undefined, part: HealthPart, nowMs: WallMs): Times {
  const { state } = part;
  const isInTrouble = state === 'degraded' || state === 'failed';
  return {
    state,
    sinceMs: part.sinceMs ?? (held?.state === state ? held.sinceMs : nowMs),
    lastSuccessMs: part.lastSuccessMs ?? (state === 'ok' ? nowMs : (held?.lastSuccessMs ?? null)),
    lastError: isInTrouble ? (part.lastError ?? part.detail) : (held?.lastError ?? part.lastError),
    lastErrorMs: isInTrouble ? nowMs : (held?.lastErrorMs ?? part.lastErrorMs),
  };
}
