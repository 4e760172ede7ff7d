/**
 * One life of a daemon, from its start to its end. When it ends everything it holds is dead: its
 * clock, its network, its disk (which is a directory that nobody looks at any more). What of its
 * code is still on the way does nothing that anybody could see.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { watchFailpoints, type FailpointName } from '../../../shared/platform/failpoints.ts';
import type { App } from '../../../shared/platform/http/app.ts';
import type { MachineClock, ProcessClock } from './machine-clock.ts';

/** Where a life is to be cut off: at the nth time that it comes to a named point, or uses a port. */
export type Aim =
  | { readonly kind: 'failpoint'; readonly name: FailpointName; readonly nth: number }
  | { readonly kind: 'port'; readonly nth: number };

export type Request = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload?: string;
};
export type Response = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

const running = new AsyncLocalStorage<Life>();
watchFailpoints((name) => running.getStore()?.reached(name));

export class Life {
  readonly number: number;
  readonly clock: ProcessClock;
  app: App | null = null;
  isAlive = true;
  readonly #closers: (() => unknown)[] = [];
  readonly #mourners = new Set<() => void>();
  #aim: { readonly aim: Aim; left: number; readonly hit: () => void } | null = null;

  constructor(number: number, machine: MachineClock) {
    this.number = number;
    this.clock = machine.process();
    this.clock.onUse = () => this.used();
  }

  /** Whatever it starts belongs to this life. */
  within<T>(work: () => T): T {
    return running.run(this, work);
  }

  aim(aim: Aim, hit: () => void): void {
    this.#aim = { aim, left: aim.nth, hit };
  }

  reached(name: FailpointName): void {
    const aimed = this.#aim;
    if (aimed?.aim.kind === 'failpoint' && aimed.aim.name === name) this.#countDown(aimed);
  }

  used(): void {
    const aimed = this.#aim;
    if (aimed?.aim.kind === 'port') this.#countDown(aimed);
  }

  #countDown(aimed: { left: number; readonly hit: () => void }): void {
    aimed.left -= 1;
    if (aimed.left > 0 || !this.isAlive) return;
    this.#aim = null;
    aimed.hit();
  }

  /** Called once, when it ends; the answer takes it back. */
  onEnd(tell: () => void): () => void {
    this.#mourners.add(tell);
    return () => this.#mourners.delete(tell);
  }

  /** Done long after the end, so that no file stays open. */
  closeLater(close: () => unknown): void {
    this.#closers.push(close);
  }

  end(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#aim = null;
    this.clock.die();
    for (const tell of this.#mourners) tell();
    this.#mourners.clear();
  }

  /** Files that are closed already are no matter. */
  async bury(): Promise<void> {
    for (const close of this.#closers.splice(0)) {
      try {
        await close();
      } catch {
        continue;
      }
    }
  }

  /** `null` where it has no door yet. Never resolves where it ends before it has answered. */
  request(request: Request): Promise<Response> | null {
    const { app } = this;
    if (app === null || !this.isAlive) return null;
    return new Promise((resolve, reject) => {
      const { method, url, headers, payload } = request;
      const injected = this.within(() =>
        app.inject({
          method,
          url,
          headers: { ...headers },
          ...(payload === undefined ? {} : { payload }),
        }),
      );
      injected.then(
        (answer) => {
          if (this.isAlive)
            resolve({
              status: answer.statusCode,
              headers: textHeaders(answer.headers),
              body: answer.body,
            });
        },
        (error: unknown) => {
          if (this.isAlive) reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  }
}

function textHeaders(
  headers: Readonly<Record<string, string | number | readonly string[] | undefined>>,
): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) texts[name] = String(value);
  return texts;
}

/** Never settles: what happens to whoever waits in a process that is gone. */
export const NEVER = new Promise<never>(() => undefined);
