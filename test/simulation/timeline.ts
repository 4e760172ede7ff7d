/** A history for people to read: one line for each event that tells something. */
import type { CallEnd, CallRequest, EventOf, History, HistoryEvent, Violation } from './history.ts';

/** Around the events that a violation names; all of them would be thousands. */
const SHOWN_BEFORE = 12;
const LINE_LENGTH_MAX = 180;

export function timelineText(history: History, violations: readonly Violation[]): string {
  const named = new Set(violations.flatMap(({ events }) => events));
  const lines: string[] = [];
  let skipped = 0;
  const shown = chosen(history.events, named);
  for (const event of history.events) {
    if (!shown.has(event.seq)) {
      skipped += 1;
      continue;
    }
    if (skipped > 0) lines.push(`          … ${skipped} more`);
    skipped = 0;
    lines.push(lineOf(event, named.has(event.seq)));
  }
  return `${lines.join('\n')}\n`;
}

function chosen(events: readonly HistoryEvent[], named: ReadonlySet<number>): Set<number> {
  const always = new Set([
    'fault',
    'daemon_started',
    'daemon_ended',
    'host_renewed',
    'phase',
    'revision_published',
    'clock_changed',
  ]);
  const noise = new Set([
    'message_sent',
    'message_arrived',
    'message_answered',
    'leases_believed',
    'host_state',
  ]);
  const shown = new Set<number>();
  const told = events.filter(({ kind }) => !noise.has(kind));
  told.forEach((event, index) => {
    if (always.has(event.kind)) shown.add(event.seq);
    if (!named.has(event.seq)) return;
    for (const near of told.slice(Math.max(0, index - SHOWN_BEFORE), index + 2))
      shown.add(near.seq);
  });
  for (const seq of named) shown.add(seq);
  return shown;
}

function lineOf(event: HistoryEvent, isNamed: boolean): string {
  const at = (event.atMs / 1_000).toFixed(3).padStart(9);
  const line = `${isNamed ? '>' : ' '}${at} #${event.seq} ${textOf(event)}`;
  return line.length > LINE_LENGTH_MAX ? `${line.slice(0, LINE_LENGTH_MAX - 1)}…` : line;
}

function textOf(event: HistoryEvent): string {
  switch (event.kind) {
    case 'phase':
      return `---- ${event.phase}`;
    case 'fault':
      return `fault ${event.fault} ${event.stage} on ${event.nodes.join(', ')} ${JSON.stringify(event.detail)}`;
    case 'daemon_started':
      return `${event.node} start ${event.start}: ${event.outcome}${event.detail === null ? '' : ` (${event.detail})`}`;
    case 'daemon_ended':
      return `${event.node} ${event.how}${event.point === null ? '' : ` at ${event.point}`}${event.detail === null ? '' : `: ${event.detail}`}`;
    case 'host_renewed':
      return `${event.node} was given up and enrols anew: ${event.detail}`;
    case 'clock_changed':
      return `clock of ${event.node}: wall ${event.after.wallMs - event.before.wallMs} ms, boot ${event.after.bootMs - event.before.bootMs} ms, rate ${event.rate}`;
    case 'revision_published':
      return `revision ${event.policyRevision} is published`;
    case 'lease_written':
      return `control: ${event.resource} epoch ${event.epoch} of ${event.host} ${event.change}`;
    case 'effect_arrived':
      return effectText(event);
    case 'probe_answered':
      return `${event.host} asks what became of ${event.operationId}, try ${event.number}: ${event.outcome}`;
    case 'call_sent':
      return `${event.client} -> ${event.to} call ${event.callId}: ${requestText(event.request)}`;
    case 'call_ended':
      return `call ${event.callId} ends: ${endText(event.end)}`;
    default:
      return JSON.stringify(event);
  }
}

function effectText(event: EventOf<'effect_arrived'>): string {
  const { target, effect, operationId, attempt, host, resource, epoch, verdict } = event;
  const under = `${resource ?? 'no resource'} epoch ${epoch ?? '-'}`;
  return `${target} gets ${effect} of ${operationId} attempt ${attempt} from ${host}, ${under}: ${verdict}`;
}

function endText(end: CallEnd): string {
  if (end.kind === 'ok') return `ok ${end.status}`;
  return `${end.kind} ${end.kind === 'refused' ? end.code : end.why}: ${end.detail}`;
}

function requestText({ kind, ...rest }: CallRequest): string {
  const short = { ...rest } as Record<string, unknown>;
  if ('document' in short) short['document'] = '…';
  return `${kind} ${JSON.stringify(short)}`;
}
