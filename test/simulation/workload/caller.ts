/**
 * Calls of apps and people, each written down with how it ended. A caller takes silence for silence:
 * what it was not told it does not know.
 */
import { REQUEST_HEADER } from '../../../shared/wire/sidecar-api.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import { CONTROL, type BodyOf, type CallEnd, type CallKind, type CallRequest } from '../history.ts';
import type { Agenda } from '../engine/agenda.ts';
import type { DaemonNode } from '../engine/daemon-node.ts';
import type { HistoryLog } from '../engine/history-log.ts';
import type { Response } from '../engine/life.ts';
import { routeOf } from './call-route.ts';

export type Called<K extends CallKind> =
  | { readonly kind: 'ok'; readonly status: number; readonly body: BodyOf<K> }
  | (CallEnd & { readonly kind: 'refused' | 'info' });

export type CallOptions = {
  readonly client: string;
  readonly token: string;
  readonly timeoutMs?: number;
  readonly repeats?: number | null;
};

const TIMEOUT_MS = 10_000;
/** To the sidecar of the own host, and to control. */
const NEAR_MS_MAX = 3;
const FAR_MS_MAX = 60;

export class Caller {
  readonly #agenda: Agenda;
  readonly #log: HistoryLog;
  readonly #random: FakeRandom;
  #calls = 0;
  lastCallId = 0;

  constructor(parts: { agenda: Agenda; log: HistoryLog; random: FakeRandom }) {
    this.#agenda = parts.agenda;
    this.#log = parts.log;
    this.#random = parts.random;
  }

  async call<R extends CallRequest>(
    node: DaemonNode,
    request: R,
    options: CallOptions,
  ): Promise<Called<R['kind']>> {
    const callId = (this.#calls += 1);
    this.lastCallId = callId;
    const { client, repeats = null } = options;
    this.#log.add({ kind: 'call_sent', callId, client, to: node.name, request, repeats });
    const end = await this.#end(node, request, options);
    this.#log.add({ kind: 'call_ended', callId, clock: node.machine.now(), end });
    return end as Called<R['kind']>;
  }

  #end(
    node: DaemonNode,
    request: CallRequest,
    { token, timeoutMs = TIMEOUT_MS }: CallOptions,
  ): Promise<CallEnd> {
    const agenda = this.#agenda;
    const isFar = node.name === CONTROL;
    const wayMs = (): number => 1 + this.#random.below(isFar ? FAR_MS_MAX : NEAR_MS_MAX);
    return new Promise((resolve) => {
      const bound = agenda.after(timeoutMs, () =>
        resolve({ kind: 'info', why: 'timeout', detail: `no answer within ${timeoutMs} ms` }),
      );
      const end = (what: CallEnd): void => {
        agenda.after(wayMs(), () => {
          bound.cancel();
          resolve(what);
        });
      };
      const arrive = (): void => {
        const { suspendedUntilMs } = node.machine;
        if (suspendedUntilMs > agenda.nowMs) return void agenda.at(suspendedUntilMs, arrive);
        const life = node.life();
        const { method, url, headers = {}, body } = routeOf(request);
        const answered = life?.request({
          method,
          url,
          headers: {
            host: '127.0.0.1:7490',
            [REQUEST_HEADER]: '1',
            authorization: `Bearer ${token}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
            ...headers,
          },
          ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
        });
        if (life === null || answered === null || answered === undefined)
          return end({ kind: 'info', why: 'cut', detail: 'the connection was refused' });
        const forget = life.onEnd(() =>
          end({
            kind: 'info',
            why: 'crash',
            detail: 'the connection was closed without an answer',
          }),
        );
        answered.then(
          (response) => {
            forget();
            end(endOf(response));
          },
          (error: unknown) => {
            forget();
            end({ kind: 'info', why: 'bad_answer', detail: String(error) });
          },
        );
      };
      agenda.after(wayMs(), arrive);
    });
  }
}

function endOf({ status, body }: Response): CallEnd {
  const parsed: unknown = body === '' ? null : parse(body);
  if (parsed === undefined) return { kind: 'info', why: 'bad_answer', detail: `${status} ${body}` };
  if (status >= 200 && status < 300) return { kind: 'ok', status, body: parsed };
  const problem = (parsed ?? {}) as Readonly<Record<string, unknown>>;
  const { code, detail } = problem;
  if (typeof code !== 'string')
    return { kind: 'info', why: 'bad_answer', detail: `${status} ${body}` };
  if (code === 'outcome_unknown')
    return { kind: 'info', why: 'outcome_unknown', detail: String(detail) };
  return { kind: 'refused', status, code, detail: String(detail), problem };
}

/** `undefined` where it is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
