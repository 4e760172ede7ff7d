/** Paused work of a host that comes back once control does; all of it is for operators. */
import type { Operation } from '../wire/operation.ts';
import type { Resume } from '../wire/resume-api.ts';
import type { JsonCaller } from './json-caller.ts';

export class ResumeClient {
  readonly #caller: JsonCaller;

  constructor(caller: JsonCaller) {
    this.#caller = caller;
  }

  /** How far it is, and what is held for a person. */
  status(): Promise<Resume> {
    return this.#caller.body<Resume>({ method: 'GET', path: '/v1/resume' });
  }

  /** Nothing paused goes on, or ends as refused, until `start`; also after a restart. */
  stop(order: { reason: string }): Promise<Resume> {
    return this.#order('stop', order);
  }

  start(order: { reason: string }): Promise<Resume> {
    return this.#order('start', order);
  }

  /** How many go on in a second; `null`: as the sidecar is configured. */
  setRate(order: { ratePerSecond: number | null; reason: string }): Promise<Resume> {
    return this.#order('rate', order);
  }

  /** One of them now, where the policy in force lets it go on. */
  release(order: { operationId: string; reason: string }): Promise<Operation> {
    return this.#order('release', order);
  }

  #order<T>(verb: string, body: unknown): Promise<T> {
    return this.#caller.body<T>({ method: 'POST', path: `/v1/resume:${verb}`, body });
  }
}
