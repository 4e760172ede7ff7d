import type { FastifyBaseLogger } from 'fastify';

type ChildOptions = Parameters<FastifyBaseLogger['child']>[1];
type Level = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';

/**
 * The logger of one request: it is made when the request first says something, and most requests say
 * nothing.
 */
class RequestLogger {
  readonly #parent: FastifyBaseLogger;
  readonly #bindings: object;
  readonly #options: ChildOptions;
  #made: FastifyBaseLogger | null = null;

  declare readonly fatal: FastifyBaseLogger['fatal'];
  declare readonly error: FastifyBaseLogger['error'];
  declare readonly warn: FastifyBaseLogger['warn'];
  declare readonly info: FastifyBaseLogger['info'];
  declare readonly debug: FastifyBaseLogger['debug'];
  declare readonly trace: FastifyBaseLogger['trace'];
  declare readonly silent: FastifyBaseLogger['silent'];

  constructor(parent: FastifyBaseLogger, bindings: object, options: ChildOptions) {
    this.#parent = parent;
    this.#bindings = bindings;
    this.#options = options;
  }

  get level(): string {
    return this.made().level;
  }

  set level(level: string) {
    this.made().level = level;
  }

  child(bindings: object, options?: ChildOptions): FastifyBaseLogger {
    return new RequestLogger(this, bindings, options);
  }

  made(): FastifyBaseLogger {
    const parent = this.#parent instanceof RequestLogger ? this.#parent.made() : this.#parent;
    return (this.#made ??= parent.child(this.#bindings, this.#options));
  }
}

// On the prototype, once: a request's logger is an object of a few fields.
for (const level of [
  'fatal',
  'error',
  'warn',
  'info',
  'debug',
  'trace',
  'silent',
] satisfies Level[])
  Object.defineProperty(RequestLogger.prototype, level, {
    value(this: RequestLogger, ...said: unknown[]): void {
      const logger = this.made();
      Reflect.apply(logger[level], logger, said);
    },
  });

/** Fastify's `childLoggerFactory`: what a request logs carries its id. */
export function requestLogger(
  parent: FastifyBaseLogger,
  bindings: object,
  options: ChildOptions,
): FastifyBaseLogger {
  return new RequestLogger(parent, bindings, options);
}
