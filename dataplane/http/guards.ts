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

const LOOPBACK_HOSTS = new Set(['127.0.0.1', 'localhost', '[::1]']);
const FORWARDING_HEADERS = ['x-forwarded-for', 'x-forwarded-host', 'forwarded', 'via'] as const;

declare module 'fastify' {
  interface FastifyRequest {
    callingApp: App | null;
  }
}

export function checkRequest(request: FastifyRequest, options: GuardOptions): void {
  const problem = transportProblem(request, options);
  if (problem !== null) throw reject(options, problem);
  if (OPEN_PATHS.has(request.url.split('?')[0] ?? '')) return;
  if (options.transport === 'tcp' && request.headers[REQUEST_HEADER] === undefined) {
    throw reject(
      options,
      new HoldfastError(
        'request_header_missing',
        'send the header Holdfast-Request: 1 with every request over TCP',
      ),
    );
  }
  if (options.tokens === null) {
    request.callingApp = ANYONE;
    return;
  }
  const token = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const app = token === undefined ? null : options.tokens(token);
  if (app === null) {
    const detail =
      token === undefined
        ? 'send Authorization: Bearer <token> with the token of your app'
        : 'the bearer token is not one of the apps file';
    throw reject(options, new HoldfastError('unauthenticated', detail));
  }
  request.callingApp = app;
}

function transportProblem(request: FastifyRequest, options: GuardOptions): HoldfastError | null {
  const { headers } = request;
  if (options.transport === 'tcp') {
    const hosts = request.raw.rawHeaders.filter(
      (name, index) => index % 2 === 0 && name.toLowerCase() === 'host',
    ).length;
    const name = (headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
    if (
      hosts !== 1 ||
      !request.url.startsWith('/') ||
      !(
        LOOPBACK_HOSTS.has(name) || options.allowedHosts.some((host) => host.toLowerCase() === name)
      )
    ) {
      return new HoldfastError(
        'foreign_host',
        `Host ${headers.host ?? '(none)'} is not answered here: use 127.0.0.1, or add the name to --allowed-hosts`,
      );
    }
  }
  const site = headers['sec-fetch-site'];
  if (headers.origin !== undefined || (site !== undefined && site !== 'none')) {
    return new HoldfastError(
      'browser_request',
      'requests of web pages are refused: call from a program on this host',
    );
  }
  const forwarded = FORWARDING_HEADERS.find((header) => headers[header] !== undefined);
  if (forwarded !== undefined)
    return new HoldfastError(
      'forwarded_request',
      `the header ${forwarded} says that a proxy sent this: call directly`,
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
