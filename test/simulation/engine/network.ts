/**
 * The network between the hosts and control. Each host has a link of its own; what is wrong with it
 * is set by the faults.
 *
 * W1  A message that is lost is silence: its sender hears nothing until its own time-out.
 * W2  What arrives at a daemon that is not there is refused; what was in its hands when it ended is
 *     reset.
 * W3  A machine that is suspended takes what has come when it runs again.
 */
import { UnreachableError } from '../../../shared/client/transport.ts';
import type {
  Transport,
  TransportRequest,
  TransportResponse,
} from '../../../shared/client/transport-port.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import { CONTROL, type MessagePurpose } from '../history.ts';
import type { Agenda } from './agenda.ts';
import type { HistoryLog } from './history-log.ts';
import { NEVER, type Life } from './life.ts';
import type { MachineClock } from './machine-clock.ts';

/** What is wrong with a link; each is a probability or a time. */
export type LinkTrouble = {
  lossShare: number;
  duplicateShare: number;
  /** Besides the usual time on the way, drawn anew for each message. */
  delayMsMax: number;
  /** No message gets there. */
  toControlCut: boolean;
  toHostCut: boolean;
  /** Control takes the connection and its answers do not come back. */
  halfOpen: boolean;
};
const NO_TROUBLE: LinkTrouble = {
  lossShare: 0,
  duplicateShare: 0,
  delayMsMax: 0,
  toControlCut: false,
  toHostCut: false,
  halfOpen: false,
};

export type Place = { readonly machine: MachineClock; life(): Life | null };

type Parts = {
  readonly agenda: Agenda;
  readonly log: HistoryLog;
  readonly random: FakeRandom;
  readonly control: Place;
};

const WAY_MS_MIN = 1;
const WAY_MS_MAX = 30;

export class Network {
  readonly #parts: Parts;
  readonly #links = new Map<string, LinkTrouble>();
  #messages = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  link(host: string): LinkTrouble {
    let link = this.#links.get(host);
    if (link === undefined) {
      link = { ...NO_TROUBLE };
      this.#links.set(host, link);
    }
    return link;
  }

  heal(): void {
    for (const link of this.#links.values()) Object.assign(link, NO_TROUBLE);
  }

  /** For one life of the sidecar of that host. */
  transport(host: Place, life: Life): Transport {
    return {
      send: (request) => {
        life.used();
        return life.isAlive ? this.#send(host, life, request) : NEVER;
      },
      close: () => Promise.resolve(),
    };
  }

  #send(host: Place, life: Life, request: TransportRequest): Promise<TransportResponse> {
    const { agenda, log, random } = this.#parts;
    const { name } = host.machine;
    const link = this.link(name);
    const messageId = (this.#messages += 1);
    const { method, path } = request;
    log.add({
      kind: 'message_sent',
      messageId,
      from: name,
      purpose: purposeOf(path),
      method,
      path,
      clock: host.machine.now(),
    });
    return new Promise((resolve, reject) => {
      let isOver = false;
      const over = (status: number | null, cause: string | null): boolean => {
        if (isOver) return false;
        isOver = true;
        request.signal?.removeEventListener('abort', giveUp);
        if (!life.isAlive) return false;
        log.add({ kind: 'message_answered', messageId, status, cause, clock: host.machine.now() });
        return true;
      };
      const fail = (cause: 'timeout' | 'refused' | 'reset'): void => {
        if (over(null, cause)) reject(new UnreachableError(cause, `${method} ${path}: ${cause}`));
      };
      const giveUp = (): void => fail('timeout');
      if (request.signal?.aborted) return giveUp();
      request.signal?.addEventListener('abort', giveUp, { once: true });
      const answer = (response: TransportResponse): void => {
        if (over(response.status, null)) resolve(response);
      };
      const copies = random.unit() < link.duplicateShare ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        const isLost = link.toControlCut || random.unit() < link.lossShare;
        const wayMs = this.#wayMs(link);
        if (isLost) continue;
        agenda.after(wayMs, () =>
          this.#arrive({
            messageId,
            host,
            link,
            request,
            isDuplicate: copy > 0,
            isOver: () => isOver,
            answer,
            fail,
          }),
        );
      }
    });
  }

  #wayMs(link: LinkTrouble): number {
    const { random } = this.#parts;
    return WAY_MS_MIN + random.below(WAY_MS_MAX) + Math.floor(random.unit() * link.delayMsMax);
  }

  #arrive(message: {
    readonly messageId: number;
    readonly host: Place;
    readonly link: LinkTrouble;
    readonly request: TransportRequest;
    readonly isDuplicate: boolean;
    isOver(): boolean;
    answer(response: TransportResponse): void;
    fail(cause: 'refused' | 'reset'): void;
  }): void {
    const { agenda, log, control } = this.#parts;
    const { machine } = control;
    // W3.
    if (machine.suspendedUntilMs > agenda.nowMs) {
      agenda.at(machine.suspendedUntilMs, () => this.#arrive(message));
      return;
    }
    const { request, messageId, host, link, isDuplicate } = message;
    const life = control.life();
    const back = (tell: () => void): void => {
      const isLost = link.toHostCut || link.halfOpen || this.#parts.random.unit() < link.lossShare;
      const atMs = agenda.nowMs + this.#wayMs(link);
      if (!isLost) this.#deliver(host, atMs, tell);
    };
    const { method, path, headers = {}, body } = request;
    const answered = life?.request({
      method,
      url: path,
      headers: { host: 'control.test', ...headers },
      ...(body === undefined ? {} : { payload: body }),
    });
    // W2.
    if (life === null || answered === null || answered === undefined) {
      if (!isDuplicate) back(() => message.fail('refused'));
      return;
    }
    log.add({ kind: 'message_arrived', messageId, at: CONTROL, isDuplicate });
    if (!message.isOver() && !link.toHostCut) request.onConnected?.();
    const forget = life.onEnd(() => back(() => message.fail('reset')));
    void answered.then(
      (response) => {
        forget();
        back(() => message.answer(response));
      },
      () => {
        forget();
        back(() => message.fail('reset'));
      },
    );
  }

  #deliver(host: Place, atMs: number, tell: () => void): void {
    const { agenda } = this.#parts;
    agenda.at(atMs, () => {
      const { suspendedUntilMs } = host.machine;
      if (suspendedUntilMs > agenda.nowMs) this.#deliver(host, suspendedUntilMs, tell);
      else tell();
    });
  }
}

function purposeOf(path: string): MessagePurpose {
  if (path === '/v1/sync') return 'sync';
  if (path.startsWith('/v1/bundle')) return 'bundle';
  if (path === '/v1/reports') return 'report';
  if (path === '/v1/hosts:enrol') return 'enrol';
  return path === '/v1/decisions' ? 'decision' : 'other';
}
