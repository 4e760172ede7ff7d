/** Ways to look at a history that more than one checker needs. */
import type {
  BodyOf,
  CallEnd,
  CallKind,
  CallRequest,
  EventKind,
  EventOf,
  History,
} from './history.ts';

export type Call<K extends CallKind = CallKind> = {
  readonly callId: number;
  readonly client: string;
  readonly to: string;
  readonly request: CallRequest & { readonly kind: K };
  readonly repeats: number | null;
  readonly sent: EventOf<'call_sent'>;
  /** `null`: the run was over before; as good as `info`. */
  readonly ended: EventOf<'call_ended'> | null;
};

export type AnsweredCall<K extends CallKind = CallKind> = Call<K> & {
  readonly ended: EventOf<'call_ended'> & {
    readonly end: CallEnd & { readonly kind: 'ok' };
  };
  readonly body: BodyOf<K>;
};

export function eventsOf<K extends EventKind>(history: History, kind: K): EventOf<K>[] {
  return history.events.filter((event): event is EventOf<K> => event.kind === kind);
}

/** In the order in which they were sent. */
export function callsOf(history: History): Call[];
export function callsOf<K extends CallKind>(history: History, kind: K): Call<K>[];
export function callsOf(history: History, kind?: CallKind): Call[] {
  const ends = new Map(eventsOf(history, 'call_ended').map((ended) => [ended.callId, ended]));
  return eventsOf(history, 'call_sent')
    .filter(({ request }) => kind === undefined || request.kind === kind)
    .map((sent) => {
      const { callId, client, to, request, repeats } = sent;
      return { callId, client, to, request, repeats, sent, ended: ends.get(callId) ?? null };
    });
}

/** Those that were answered `ok`, with the body of the answer. */
export function answeredOf<K extends CallKind>(history: History, kind: K): AnsweredCall<K>[] {
  return callsOf(history, kind).flatMap((call) => {
    const { ended } = call;
    if (ended === null || ended.end.kind !== 'ok') return [];
    return [{ ...call, ended: { ...ended, end: ended.end }, body: ended.end.body as BodyOf<K> }];
  });
}

/** It took effect, or may have, or may still. */
export function mayHaveHappened({ ended }: Call): boolean {
  return ended?.end.kind !== 'refused';
}
