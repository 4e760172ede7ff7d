/** Fencing tokens: what was accepted is remembered, and none below it is accepted afterwards. */
import { mayHaveHappened, type Call, type CallRequest } from '../history/history.ts';
import { lie, type Lie } from './lie.ts';

type FenceCall = Call & { readonly request: CallRequest & { kind: 'check_fence' } };

export function checkFences(calls: readonly Call[], fences: ReadonlyMap<string, number>): Lie[] {
  const checks = calls.filter((call): call is FenceCall => call.request.kind === 'check_fence');
  const lies: Lie[] = [];
  for (const [resource, its] of Map.groupBy(checks, ({ request }) => request.resource)) {
    const accepted = its.filter(({ end }) => end?.kind === 'ok');
    const told = Math.max(0, ...accepted.map(({ request }) => request.epoch));
    const most = Math.max(0, ...its.filter(mayHaveHappened).map(({ request }) => request.epoch));
    const found = fences.get(resource) ?? 0;
    if (found < told)
      lies.push(lie('lost', resource, `epoch ${told} was accepted, ${found} is remembered`));
    if (found > most)
      lies.push(
        lie('invented', resource, `epoch ${found} is remembered, at most ${most} was sent`),
      );
    lies.push(...checkOrder(resource, its));
  }
  return lies;
}

/** One pass over invocations and ends in their order: `floor` is what was accepted before each began. */
function checkOrder(resource: string, calls: readonly FenceCall[]): Lie[] {
  const lies: Lie[] = [];
  const ends = calls
    .filter(({ end }) => end?.kind === 'ok')
    .toSorted((a, b) => a.endedAt - b.endedAt);
  let floor = 0;
  let next = 0;
  for (const call of calls.toSorted((a, b) => a.invokedAt - b.invokedAt)) {
    for (let ended = ends[next]; ended !== undefined && ended.endedAt < call.invokedAt;) {
      floor = Math.max(floor, ended.request.epoch);
      next += 1;
      ended = ends[next];
    }
    if (call.end?.kind === 'ok' && call.request.epoch < floor) {
      const detail = `epoch ${call.request.epoch} was accepted after ${floor}`;
      lies.push(lie('went_back', resource, detail));
    }
  }
  return lies;
}
