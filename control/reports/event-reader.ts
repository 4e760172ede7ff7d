/** Reads the body of a reported event as its kind promises, or says why it cannot be read. */
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import { admittedOperation } from '../../shared/core/admission.ts';
import {
  AdmissionSchema,
  EVENT_KINDS,
  EffectSchema,
  JournalEventSchema,
  OperationStateSchema,
  OutageSchema,
  OutcomeSchema,
  RefusalSchema,
  type EventKind,
} from '../../shared/wire/operation.ts';
import { OperationApprovalSchema } from '../../shared/wire/approval.ts';
import { REPORT_EVENTS_MAX } from '../../shared/wire/control-api.ts';
import { count } from '../../shared/wire/numbers.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { readReportLines, type ReportEntry } from '../../shared/wire/report-lines.ts';
import { jsonTextProblem } from '../../shared/platform/http/json-text.ts';
import { ReconciliationSchema } from '../../shared/wire/reconciliation.ts';
import type { ReadEvent } from '../core/operation-projection.ts';

/**
 * As a host sends it: of a newer sidecar the kind may be one that this control does not know, and
 * of a broken clock the time may be anything. A report that is refused for one event would be sent
 * again for ever, so what does not hold up the chain is looked at in `readEvent`.
 */
const ReportedEventSchema = Type.Object(
  {
    ...JournalEventSchema.properties,
    kind: Type.String({ minLength: 1, maxLength: 100 }),
    atMs: Type.Number(),
  },
  { additionalProperties: false },
);

/** As it is taken in: its body is text until it is read, and is stored as that text. */
export type ReportedEvent = ReportEntry & { readonly previousHash: string };

export const ReportBodySchema = Type.Object(
  {
    events: Type.Array(ReportedEventSchema, {
      minItems: 1,
      maxItems: REPORT_EVENTS_MAX,
      description: 'consecutive, in the order of the journal',
    }),
  },
  { additionalProperties: false, $id: 'ReportRequest' },
);

export type ReportBody = Type.Static<typeof ReportBodySchema>;

/** Of a report in JSON: a body that was read and is written again has the same text. */
export function eventsOfBody({ events }: ReportBody): readonly ReportedEvent[] {
  return events.map(({ body, ...event }) => ({ ...event, bodyText: JSON.stringify(body) }));
}

/** Of a report in lines; `invalid_request` where they cannot be chained. */
export function eventsOfLines(text: string): readonly ReportedEvent[] {
  const read = readReportLines(text);
  if (!read.ok) throw new HoldfastError('invalid_request', read.problem);
  let { previousHash } = read.report;
  return read.report.entries.map((entry) => {
    const event = { ...entry, previousHash };
    previousHash = entry.hash;
    return event;
  });
}

const admission = Compile(AdmissionSchema);
const refusal = Compile(Type.Object({ refusal: RefusalSchema }));
const outage = Compile(Type.Object({ outage: OutageSchema }));
const change = Compile(
  Type.Object({
    state: OperationStateSchema,
    reason: Type.Union([Type.String(), Type.Null()]),
    attempt: count(),
    effect: Type.Optional(EffectSchema),
    effects: Type.Optional(Type.Array(EffectSchema)),
    outcome: Type.Optional(Type.Union([OutcomeSchema, Type.Null()])),
    reconciliation: Type.Optional(ReconciliationSchema),
    approval: Type.Optional(OperationApprovalSchema),
  }),
);

export type Reading =
  | { readonly ok: true; readonly event: ReadEvent }
  | { readonly ok: false; readonly problem: string };

export function readEvent(event: ReportedEvent): Reading {
  const { seq, atMs, kind, operationId, outageId } = event;
  if (!isWallMs(atMs)) return { ok: false, problem: `atMs ${atMs} is no time` };
  if (!isEventKind(kind))
    return { ok: false, problem: `kind ${kind} is not known to this version` };
  const text = readBody(event.bodyText);
  if (!text.ok) return text;
  const { body } = text;
  switch (kind) {
    case 'admitted':
      if (operationId === null) return { ok: false, problem: `${kind} names no operation` };
      if (!admission.Check(body)) return misfit(admission, body);
      return {
        ok: true,
        event: {
          seq,
          atMs,
          type: 'admitted',
          operation: admittedOperation(body, { operationId, atMs, outageId }),
        },
      };
    case 'refused':
      if (!refusal.Check(body)) return misfit(refusal, body);
      return { ok: true, event: { seq, atMs, type: 'refused', refusal: body.refusal } };
    case 'outage_opened':
    case 'outage_changed':
    case 'outage_closed':
      if (!outage.Check(body)) return misfit(outage, body);
      return { ok: true, event: { seq, atMs, type: 'outage', outage: body.outage } };
    case 'fence_advanced':
    case 'register_written':
    case 'register_deleted':
    case 'policy_activated':
    case 'policy_rejected':
    case 'resume_ordered':
      return { ok: true, event: { seq, atMs, type: 'other' } };
    default:
      if (operationId === null) return { ok: false, problem: `${kind} names no operation` };
      if (!change.Check(body)) return misfit(change, body);
      return {
        ok: true,
        event: { seq, atMs, type: 'changed', kind, operationId, change: body },
      };
  }
}

/** An app's attributes may be as deep as a request; an admission has them further down. */
const BODY_NESTING_MAX = 72;

function readBody(bodyText: string): { ok: true; body: unknown } | { ok: false; problem: string } {
  const problem = jsonTextProblem(bodyText, BODY_NESTING_MAX);
  if (problem !== null) return { ok: false, problem };
  try {
    return { ok: true, body: JSON.parse(bodyText) };
  } catch {
    return { ok: false, problem: 'the body is not JSON' };
  }
}

/**
 * The event as it can be stored: a time that no column holds becomes the one nearest to it. The
 * problem of such an event says what it was.
 */
export function storable(event: ReportedEvent): ReportedEvent {
  const { atMs } = event;
  if (isWallMs(atMs)) return event;
  return { ...event, atMs: Math.min(Math.max(Math.trunc(atMs), 0), Number.MAX_SAFE_INTEGER) };
}

const isWallMs = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

const KINDS: ReadonlySet<string> = new Set(EVENT_KINDS);
const isEventKind = (kind: string): kind is EventKind => KINDS.has(kind);

function misfit(
  checker: { Errors(value: unknown): { instancePath: string; message: string }[] },
  body: unknown,
): Reading {
  const first = checker.Errors(body)[0];
  return {
    ok: false,
    problem: `body ${first?.instancePath || '/'} ${first?.message ?? 'does not fit'}`,
  };
}
