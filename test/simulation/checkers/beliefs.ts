/** What hosts believed to hold, as stretches of true time in which it is certain that they did. */
import type { History, NodeName } from '../history.ts';

export type Belief = {
  readonly host: NodeName;
  readonly resource: string;
  readonly epoch: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly seq: number;
};

/**
 * A look shows that a host believes at that moment. Between two looks it is certain only where both
 * show the same epoch and the first left time enough; a daemon that has ended believes nothing.
 */
export function beliefsIn(history: History): Belief[] {
  const { drift } = history.terms;
  const beliefs: Belief[] = [];
  const last = new Map<string, Belief & { readonly untilMs: number }>();
  for (const event of history.events) {
    if (event.kind === 'daemon_ended' || event.kind === 'daemon_started') {
      for (const key of last.keys()) if (key.startsWith(`${event.node} `)) last.delete(key);
    }
    if (event.kind !== 'leases_believed') continue;
    const { host, leases, atMs, seq } = event;
    const shown = new Set<string>();
    for (const { resource, epoch, state, remainingMs } of leases) {
      if (epoch === null || (state !== 'held' && state !== 'draining') || remainingMs <= 0)
        continue;
      const key = `${host} ${resource}`;
      shown.add(key);
      const before = last.get(key);
      if (before !== undefined && before.epoch === epoch) {
        const toMs = Math.min(atMs, before.untilMs);
        if (toMs > before.fromMs) beliefs.push({ ...withoutEnd(before), toMs });
      }
      const untilMs = atMs + remainingMs * (1 - drift);
      const belief = { host, resource, epoch, fromMs: atMs, toMs: atMs + 1, seq };
      beliefs.push(belief);
      last.set(key, { ...belief, untilMs });
    }
    for (const key of last.keys())
      if (key.startsWith(`${host} `) && !shown.has(key)) last.delete(key);
  }
  return beliefs;
}

function withoutEnd({ host, resource, epoch, fromMs, toMs, seq }: Belief): Belief {
  return { host, resource, epoch, fromMs, toMs, seq };
}
