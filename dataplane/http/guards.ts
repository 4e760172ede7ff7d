/**
 * Who may come in, decided before a body is read. The sidecar answers programs of this host and
 * nothing else: no browser page, no proxy, no neighbour.
 *
 * H1  Over TCP the Host must be one of ours, so that a rebound DNS name reaches nothing.
 * H2  A request that a browser or a proxy made says so in its headers, and is refused on every
 *     transport.
 * H3  Over TCP every request carries `Holdfast-Request`, which no form and no plain proxy can send.
 * H4  Every request but the open ones names its app by a bearer token.
 */
import type { FastifyRequest } from 'fastify';
import { OPEN_PATHS } from '../../shared/platform/http/operations-routes.ts';
import { REQUEST_HEADER } from '../../shared/wire/sidecar-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { ANYONE, type App, type AppTokens } from './app-tokens.ts';

export type GuardOptions = {
  readonly transport: 'tcp' | 'unix';
  /** Host names without port that are ours besides the loopback ones. */
  readonly allowedHosts: readonly string[];
  /** `null`: any local program may call (development). */
  readonly tokens: AppTokens | null;
  readonly onRejected: (reason: string) => void;
};

const LOOPBACK_HOSTS = ['127.0.0.1', 'localhost', '[::1]'];
const FORWARDING_HEADERS = ['x-forwarded-for', 'x-forwarded-host', 'forwarded', 'via'] as const;

declare module 'fastify' {
  interface FastifyRequest {
    callingApp: App | null;
  }
}

/** Throws where the request may not come in; where it may, it then has its `callingApp`. */
export function requestCheck(options: GuardOptions): (request: FastifyRequest) => void {
  const isTcp = options.transport === 'tcp';
  const hosts = new Set([
    ...LOOPBACK_HOSTS,
    ...options.allowedHosts.map((host) => host.toLowerCase()),
  ]);
  return (request) => {
    const problem = (isTcp ? hostProblem(request, hosts) : null) ?? senderProblem(request);
    if (problem !== null) throw reject(options, problem);
    if (OPEN_PATHS.has(pathOf(request.url))) return;
    if (isTcp && request.headers[REQUEST_HEADER] === undefined) {
      throw reject(
        options,
        new HoldfastError(
          'request_header_missing',
          'send the header Holdfast-Request: 1 with every request over TCP',
        ),
      );
    }
    request.callingApp = options.tokens === null ? ANYONE : authenticate(request, options);
  };
}

const BEARER = /^Bearer ([\x21-\x7e]+)$/i;

function authenticate(request: FastifyRequest, options: GuardOptions): App {
  const token = BEARER.exec(request.headers.authorization ?? '')?.[1];
  const app = token === undefined ? null : (options.tokens?.(token) ?? null);
  if (app !== null) return app;
  const detail =
    token === undefined
      ? 'send Authorization: Bearer <token> with the token of your app'
      : 'the bearer token is not one of the apps file';
  throw reject(options, new HoldfastError('unauthenticated', detail));
}

function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

function hostProblem(request: FastifyRequest, hosts: ReadonlySet<string>): HoldfastError | null {
  const host = request.headers.host ?? '';
  if (
    hostHeaders(request.raw.rawHeaders) === 1 &&
    request.url.startsWith('/') &&
    hosts.has(host.replace(PORT, '').toLowerCase())
  )
    return null;
  return new HoldfastError(
    'foreign_host',
    `Host ${request.headers.host ?? '(none)'} is not answered here: use 127.0.0.1, or add the name to --allowed-hosts`,
  );
}

const PORT = /:\d+$/;

/** How many there are: Node keeps the first of several, and says nothing. */
function hostHeaders(rawHeaders: readonly string[]): number {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') count += 1;
  }
  return count;
}

function senderProblem({ headers }: FastifyRequest): HoldfastError | null {
  const site = headers['sec-fetch-site'];
  if (headers.origin !== undefined || (site !== undefined && site !== 'none')) {
    return new HoldfastError(
      'browser_request',
      'requests of web pages are refused: call from a program on this host',
    );
  }
  for (const header of FORWARDING_HEADERS)
    if (headers[header] !== undefined)
      return new HoldfastError(
        'forwarded_request',
        `the header ${header} says that a proxy sent this: call directly`,
      );
  return null;
}

function reject(options: GuardOptions, error: HoldfastError): HoldfastError {
  options.onRejected(error.code);
  return error;
}

export function callerOf(request: FastifyRequest): App {
  if (request.callingApp === null)
    throw new HoldfastError(
      'unauthenticated',
      'send Authorization: Bearer <token> with the token of your app',
    );
  return request.callingApp;
}

/** Which operations the caller sees: those of its app, or all (`null`) for an operator. */
export function scopeOf(request: FastifyRequest): string | null {
  const caller = callerOf(request);
  return caller.operator ? null : caller.name;
}

export function requireOperator(request: FastifyRequest): void {
  const caller = callerOf(request);
  if (!caller.operator)
    throw new HoldfastError(
      'forbidden',
      `app ${caller.name} may not do this: it needs operator: true in the apps file`,
    );
}
