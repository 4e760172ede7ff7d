/** The few things that must hold in any run at all: they show that the simulator itself works. */
import type { Checker, EventOf, History, Verdict, Violation } from './history.ts';
import { answeredOf, eventsOf } from './history-view.ts';

/** Hosts that were put back to an old copy, or given a new journal: what they forgot is no lie. */
function forgetful(history: History): Set<string> {
  const restored = eventsOf(history, 'fault')
    .filter(({ fault, stage }) => fault === 'host_backup_restored' && stage === 'ended')
    .flatMap(({ nodes }) => nodes);
  const renewed = eventsOf(history, 'host_renewed').map(({ node }) => node);
  return new Set([...restored, ...renewed]);
}

const acknowledgedAreThere: Checker = (history) => {
  const forgot = forgetful(history);
  const there = new Set(
    history.final.journals.flatMap(({ operations }) =>
      operations.map(({ operationId }) => operationId),
    ),
  );
  const asked = answeredOf(history, 'admit').filter(({ to }) => !forgot.has(to));
  const violations = asked
    .filter(({ body }) => !there.has(body.operationId))
    .map(({ body, to, sent, ended }): Violation => ({
      promise: 'I1',
      detail: `${body.operationId} was acknowledged by ${to} and is in no journal`,
      events: [sent.seq, ended.seq],
    }));
  return { promise: 'I1', checks: asked.length, violations };
};

const oncePerKey: Checker = (history) => {
  const forgot = forgetful(history);
  const asked = answeredOf(history, 'admit').filter(({ to }) => !forgot.has(to));
  const byKey = Map.groupBy(asked, ({ to, client, request }) => `${to} ${client} ${request.key}`);
  const violations: Violation[] = [];
  for (const [key, calls] of byKey) {
    const ids = new Set(calls.map(({ body }) => body.operationId));
    if (ids.size > 1)
      violations.push({
        promise: 'I2',
        detail: `${key} names ${[...ids].join(' and ')}`,
        events: calls.map(({ ended }) => ended.seq),
      });
  }
  return { promise: 'I2', checks: byKey.size, violations };
};

const epochsRise: Checker = (history) => {
  const newest = new Map<string, EventOf<'lease_written'>>();
  const violations: Violation[] = [];
  const grants = eventsOf(history, 'lease_written').filter(({ change }) => change === 'granted');
  for (const grant of grants) {
    const before = newest.get(grant.resource);
    if (before !== undefined && grant.epoch <= before.epoch)
      violations.push({
        promise: 'I6',
        detail: `${grant.resource} was granted under ${grant.epoch} after ${before.epoch}`,
        events: [before.seq, grant.seq],
      });
    newest.set(grant.resource, grant);
  }
  return { promise: 'I6', checks: grants.length, violations };
};

const everythingEnds: Checker = ({ final: { liveness }, events }) => {
  const violations = liveness.unsettled.map((detail): Violation => ({
    promise: 'I8',
    detail,
    events: [events.length - 1],
  }));
  return { promise: 'I8', checks: 1, violations };
};

export function basicVerdicts(history: History): Verdict[] {
  return [acknowledgedAreThere, oncePerKey, epochsRise, everythingEnds].map((check) =>
    check(history),
  );
}
