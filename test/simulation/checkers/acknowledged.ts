/**
 * What the answers of a host promise to be on its disk: each `ok` in the words of its journal.
 * An answer that came before an old copy of the journal was put back is not among them.
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import type { Effect, EventKind, JournalEvent, Outcome } from '../../../shared/wire/operation.ts';
import type { CallBodies, CallKind } from '../history.ts';
import type { Call } from '../history-view.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import type { World } from './world.ts';

export type Acknowledged = { readonly call: Call; readonly operationId: string | null } & (
  | { readonly kind: 'operation' }
  | {
      readonly kind: 'event';
      readonly what: string;
      readonly fits: (entry: JournalEvent) => boolean;
    }
  | { readonly kind: 'entry'; readonly seq: number; readonly entry: EventKind }
  | { readonly kind: 'fence'; readonly resource: string; readonly epoch: number }
  | { readonly kind: 'refusal'; readonly refusalId: string }
);

export function acknowledgedIn({ calls }: World, life: JournalLife): Acknowledged[] {
  return calls.flatMap((call): Acknowledged[] => {
    const { ended } = call;
    if (call.to !== life.host || ended === null || !isHeldIn(life, ended.atMs)) return [];
    if (!isHeldIn(life, call.sent.atMs)) return [];
    if (ended.end.kind === 'refused') return refusalIn(call, ended.end.problem);
    return ended.end.kind === 'ok' ? promisesOf(call, ended.end.body) : [];
  });
}

/** Refusals by a limit are counted together, a second at a time: one stands for several. */
function refusalIn(call: Call, problem: Readonly<Record<string, unknown>>): Acknowledged[] {
  const { refusalId, limit } = problem;
  if (typeof refusalId !== 'string' || limit !== undefined) return [];
  return [{ call, operationId: null, kind: 'refusal', refusalId }];
}

type Fits = (entry: JournalEvent) => boolean;

function promisesOf(call: Call, body: unknown): Acknowledged[] {
  const { request } = call;
  const event = (operationId: string, what: string, fits: Fits): Acknowledged[] => [
    { call, operationId, kind: 'event', what, fits },
  ];
  switch (request.kind) {
    case 'admit':
      return [{ call, operationId: bodyOf('admit', body).operationId, kind: 'operation' }];
    case 'start_attempt': {
      const { attempt } = bodyOf('start_attempt', body);
      return event(request.operationId, `attempt ${attempt}`, isAttempt(attempt));
    }
    case 'claim':
      return bodyOf('claim', body).items.flatMap(({ operation, attempt }) =>
        event(operation.operationId, `attempt ${attempt.attempt}`, isAttempt(attempt.attempt)),
      );
    case 'heartbeat': {
      const { checkpoint, operationId } = request;
      if (checkpoint === undefined) return [];
      const wanted = canonicalJson(checkpoint);
      const fits: Fits = ({ kind, body: entry }) =>
        kind === 'checkpoint_saved' && canonicalJson(entry['checkpoint'] ?? null) === wanted;
      return event(operationId, `checkpoint ${wanted}`, fits);
    }
    case 'begin_effect': {
      const { attempt } = bodyOf('begin_effect', body).effect;
      const { effect, operationId } = request;
      const fits: Fits = (entry) =>
        entry.kind === 'effect_begun' &&
        effectIn(entry)?.name === effect &&
        effectIn(entry)?.attempt === attempt;
      return event(operationId, `beginning of effect ${effect} by attempt ${attempt}`, fits);
    }
    case 'settle_effect': {
      const { effect, operationId, outcome } = request;
      const result = canonicalJson(request.result ?? null);
      const fits: Fits = (entry) =>
        (entry.kind === 'effect_settled' &&
          effectIn(entry)?.name === effect &&
          effectIn(entry)?.state === outcome &&
          canonicalJson(effectIn(entry)?.result ?? null) === result) ||
        // It may have become unknown by itself before it was said to be.
        (outcome === 'unknown' && marksUnknown(entry, effect));
      return event(operationId, `result ${outcome} ${result} of effect ${effect}`, fits);
    }
    case 'report_outcome': {
      const { operationId, outcome } = request;
      const result = canonicalJson(request.result ?? null);
      const fits: Fits = ({ kind, body: entry }) =>
        kind === outcome &&
        // Of what was unknown already nothing new is written.
        (kind === 'unknown' ||
          canonicalJson((entry['outcome'] as Outcome | undefined)?.result ?? null) === result);
      return event(operationId, `outcome ${outcome} ${result}`, fits);
    }
    case 'resolve':
      return event(request.operationId, `outcome ${request.outcome}`, isOutcome(request.outcome));
    case 'cancel':
      return event(request.operationId, 'cancellation', ({ kind }) => kind === 'cancelled');
    case 'check_fence': {
      const { resource, epoch } = request;
      if (!bodyOf('check_fence', body).accepted) return [];
      return [{ call, operationId: null, kind: 'fence', resource, epoch }];
    }
    case 'put_register': {
      const { version: seq } = bodyOf('put_register', body);
      return [{ call, operationId: null, kind: 'entry', seq, entry: 'register_written' }];
    }
    default:
      return [];
  }
}

/** What a history has for an answered call of that kind (`CallBodies`). */
function bodyOf<K extends keyof CallBodies & CallKind>(_kind: K, body: unknown): CallBodies[K] {
  return body as CallBodies[K];
}

function isAttempt(attempt: number): Fits {
  return ({ kind, body }) => kind === 'attempt_started' && body['attempt'] === attempt;
}

function isOutcome(outcome: Outcome['outcome']): Fits {
  return ({ kind }) => kind === outcome;
}

export function effectIn({ body }: JournalEvent): Effect | null {
  return (body['effect'] as Effect | undefined) ?? null;
}

function marksUnknown({ body }: JournalEvent, name: string): boolean {
  const effects = (body['effects'] as readonly Effect[] | undefined) ?? [];
  return effects.some((effect) => effect.name === name && effect.state === 'unknown');
}
