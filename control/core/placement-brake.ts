/**
 * Whether hosts that are silent are lost, or control is deaf. It decides before anything is taken
 * from anybody: when many seem dead at once, control doubts itself first.
 *
 * B1  Silence is counted on the boot clock of this run, from its start for a host not heard yet.
 * B2  More than `share` of the hosts silent for half of what makes one lost: the brake. No host is
 *     taken for lost while it is on. It is counted at half, so that all who fell silent together are
 *     seen together, before the first of them is lost.
 * B3  A start begins with the brake on, until every host has been heard.
 * B4  It is let go when hosts are heard again, after twice what makes a host lost, or by an operator;
 *     in the two latter cases the silent ones are lost then. Who was taken for lost counts no more,
 *     neither as silent nor as one of the hosts, until it is heard.
 */
export type Brake = {
  readonly reason: 'started' | 'mass_loss';
  readonly sinceBootMs: number;
  readonly endsBootMs: number;
};

export type Presence = {
  readonly brake: Brake | null;
  /** B4: hosts, each with when it was taken for lost. */
  readonly lost: ReadonlyMap<string, number>;
};

export type Heard = {
  readonly hostId: string;
  /** When it was last heard in this run. */
  readonly heardBootMs: number | null;
};

export type BrakeTerms = {
  readonly nowMs: number;
  readonly startedBootMs: number;
  readonly lostAfterMs: number;
  readonly share: number;
};

export function presenceAtStart(hostCount: number, terms: Omit<BrakeTerms, 'nowMs'>): Presence {
  const { startedBootMs, lostAfterMs } = terms;
  const endsBootMs = startedBootMs + 2 * lostAfterMs;
  const brake = { reason: 'started', sinceBootMs: startedBootMs, endsBootMs } as const;
  return { brake: hostCount === 0 ? null : brake, lost: new Map() };
}

export function silenceMs({ heardBootMs }: Heard, terms: BrakeTerms): number {
  return terms.nowMs - (heardBootMs ?? terms.startedBootMs);
}

export function judgePresence(
  before: Presence,
  hosts: readonly Heard[],
  terms: BrakeTerms,
): Presence {
  const { nowMs, lostAfterMs } = terms;
  const lost = stillLost(before, hosts);
  const counted = hosts.filter(({ hostId }) => !lost.has(hostId));
  const taken = (): Presence => takeForLost(lost, counted, { terms, afterMs: lostAfterMs });
  const { brake } = before;
  if (brake !== null && nowMs >= brake.endsBootMs) return taken();
  if (brake?.reason === 'started' && counted.some(({ heardBootMs }) => heardBootMs === null)) {
    return { brake, lost };
  }
  const { silent, of } = countSilent(hosts, lost, terms);
  if (silent <= terms.share * of) return taken();
  const endsBootMs = nowMs + 2 * lostAfterMs;
  const begun = { reason: 'mass_loss', sinceBootMs: nowMs, endsBootMs } as const;
  return { brake: brake?.reason === 'mass_loss' ? brake : begun, lost };
}

/** B4, by an operator: those that are silent now are lost, or the brake would be on again at once. */
export function letGo(before: Presence, hosts: readonly Heard[], terms: BrakeTerms): Presence {
  if (before.brake === null) return before;
  const lost = stillLost(before, hosts);
  const counted = hosts.filter(({ hostId }) => !lost.has(hostId));
  return takeForLost(lost, counted, { terms, afterMs: terms.lostAfterMs / 2 });
}

function stillLost({ lost }: Presence, hosts: readonly Heard[]): Map<string, number> {
  const still = new Map<string, number>();
  for (const { hostId, heardBootMs } of hosts) {
    const sinceMs = lost.get(hostId);
    if (sinceMs !== undefined && (heardBootMs ?? 0) <= sinceMs) still.set(hostId, sinceMs);
  }
  return still;
}

function takeForLost(
  lost: ReadonlyMap<string, number>,
  counted: readonly Heard[],
  { terms, afterMs }: { readonly terms: BrakeTerms; readonly afterMs: number },
): Presence {
  const silent = counted.filter((host) => silenceMs(host, terms) >= afterMs);
  return {
    brake: null,
    lost: new Map([...lost, ...silent.map(({ hostId }) => [hostId, terms.nowMs] as const)]),
  };
}

/** B2: of those that count. */
export function countSilent(
  hosts: readonly Heard[],
  lost: ReadonlyMap<string, number>,
  terms: BrakeTerms,
): { readonly silent: number; readonly of: number } {
  const counted = hosts.filter(({ hostId }) => !lost.has(hostId));
  const silent = counted.filter((host) => silenceMs(host, terms) >= terms.lostAfterMs / 2);
  return { silent: silent.length, of: counted.length };
}
