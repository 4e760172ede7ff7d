/** One history, looked up in the ways that the checkers need; made once for each. */
import type { Instant } from '../../../shared/core/time.ts';
import type { EventOf, FaultKind, History, MessagePurpose, NodeName } from '../history.ts';
import { callsOf, eventsOf, type Call } from '../history-view.ts';
import { journalLives, type JournalLife } from './journal-life.ts';
import { Policies } from './policies.ts';

/** A message of a host to control that was answered. */
export type Exchange = {
  readonly host: NodeName;
  readonly purpose: MessagePurpose;
  readonly sent: EventOf<'message_sent'>;
  readonly answered: EventOf<'message_answered'> & { readonly status: number };
};

export type FaultSpan = {
  readonly fault: FaultKind;
  readonly nodes: readonly NodeName[];
  readonly fromMs: number;
  readonly toMs: number;
  readonly begun: EventOf<'fault'>;
};

export type World = {
  readonly history: History;
  readonly lives: readonly JournalLife[];
  readonly calls: readonly Call[];
  readonly policies: Policies;
  /** By host, in the order in which their answers came. */
  readonly exchanges: ReadonlyMap<NodeName, readonly Exchange[]>;
  readonly faults: readonly FaultSpan[];
  /** The last moment of the run. */
  readonly endMs: number;
};

const worlds = new WeakMap<History, World>();

export function worldOf(history: History): World {
  const known = worlds.get(history);
  if (known !== undefined) return known;
  const world: World = {
    history,
    lives: journalLives(history),
    calls: callsOf(history),
    policies: new Policies(eventsOf(history, 'revision_published')),
    exchanges: exchangesOf(history),
    faults: faultsOf(history),
    endMs: history.events.at(-1)?.atMs ?? 0,
  };
  worlds.set(history, world);
  return world;
}

function exchangesOf(history: History): Map<NodeName, Exchange[]> {
  const sentById = new Map<number, EventOf<'message_sent'>>();
  for (const sent of eventsOf(history, 'message_sent')) {
    if (!sentById.has(sent.messageId)) sentById.set(sent.messageId, sent);
  }
  const exchanges = eventsOf(history, 'message_answered').flatMap((answered): Exchange[] => {
    const sent = sentById.get(answered.messageId);
    const { status } = answered;
    if (sent === undefined || status === null) return [];
    return [{ host: sent.from, purpose: sent.purpose, sent, answered: { ...answered, status } }];
  });
  return Map.groupBy(exchanges, ({ host }) => host);
}

function faultsOf(history: History): FaultSpan[] {
  const events = eventsOf(history, 'fault');
  const ends = new Map(
    events.filter(({ stage }) => stage === 'ended').map((ended) => [ended.faultId, ended.atMs]),
  );
  const endOf = (faultId: number): number => ends.get(faultId) ?? Number.POSITIVE_INFINITY;
  return events
    .filter(({ stage }) => stage !== 'ended')
    .map((begun) => ({
      fault: begun.fault,
      nodes: begun.nodes,
      fromMs: begun.atMs,
      toMs: begun.stage === 'once' ? begun.atMs + lastsMs(begun) : endOf(begun.faultId),
      begun,
    }));
}

/** A machine that is suspended stands still for a while, though that is said only once. */
function lastsMs({ fault, detail }: EventOf<'fault'>): number {
  return fault === 'suspend' ? Number(detail['durationMs'] ?? 0) : 0;
}

/** Faults of those kinds at that node that were, for a moment at least, between the two. */
export function faultsDuring(
  { faults }: World,
  at: { readonly node: NodeName; readonly fromMs: number; readonly toMs: number },
  kinds: readonly FaultKind[],
): FaultSpan[] {
  return faults.filter(
    ({ fault, nodes, fromMs, toMs }) =>
      kinds.includes(fault) && nodes.includes(at.node) && fromMs <= at.toMs && toMs >= at.fromMs,
  );
}

/** The daemon of that node was started, or ended, between the two. */
export function restartedDuring(
  { history }: World,
  at: { readonly node: NodeName; readonly fromMs: number; readonly toMs: number },
): boolean {
  return history.events.some(
    (event) =>
      (event.kind === 'daemon_started' || event.kind === 'daemon_ended') &&
      event.node === at.node &&
      event.atMs >= at.fromMs &&
      event.atMs <= at.toMs,
  );
}

export function exchangesWith(world: World, host: NodeName, purpose: MessagePurpose): Exchange[] {
  return (world.exchanges.get(host) ?? []).filter((one) => one.purpose === purpose);
}

/**
 * The sync that was sent last among those whose answer had come by the event `beforeSeq`. Nothing
 * that a host holds from control is younger.
 */
export function newestSync(world: World, host: NodeName, beforeSeq: number): Exchange | null {
  let newest: Exchange | null = null;
  for (const sync of exchangesWith(world, host, 'sync')) {
    if (sync.answered.status !== 200 || sync.answered.seq > beforeSeq) continue;
    if (newest === null || sync.sent.seq > newest.sent.seq) newest = sync;
  }
  return newest;
}

/** By the clock of the host within one boot; `null` where it was booted between them. */
export function bootElapsedMs(from: Instant, to: Instant): number | null {
  return from.bootId === to.bootId ? to.bootMs - from.bootMs : null;
}
