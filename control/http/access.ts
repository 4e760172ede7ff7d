/**
 * Who may use which route. Every route says so where it is made, and one that does not is refused
 * when it is installed: a forgotten line must not open a door.
 */
import { mayActAs } from '../core/operator-roles.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { OPEN_PATHS } from '../../shared/platform/http/operations-routes.ts';
import type { App } from '../../shared/platform/http/app.ts';
import type { Operator, OperatorRole } from '../../shared/wire/control-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { HOST_AUTH_SCHEME } from '../../shared/wire/statements.ts';
import type { HostAuthenticator, HostCaller } from '../hosts/host-authenticator.ts';
import type { OperatorRegistry } from '../operators/operator-registry.ts';

export type Access =
  /** Probes, metrics, the description of the API. */
  | { readonly kind: 'open' }
  /** `or`: another role that will do. */
  | { readonly kind: 'operator'; readonly role: OperatorRole; readonly or?: OperatorRole }
  /** `once`: the same token is not taken again. */
  | { readonly kind: 'host'; readonly once: boolean }
  | { readonly kind: 'host_or_operator'; readonly role: OperatorRole }
  /** The credential is the join token in the body. */
  | { readonly kind: 'join_token' };

export type Caller = HostCaller | { readonly kind: 'operator'; readonly operator: Operator };

export type RouteAccess = {
  readonly method: string;
  readonly path: string;
  readonly access: Access;
};

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
    /** The handler reads the bytes itself, and takes YAML too. */
    takesDocument?: boolean;
    /** Also takes lines of text, and reads them itself. */
    takesLines?: boolean;
  }
  interface FastifyRequest {
    caller: Caller | null;
    rawBody: Uint8Array | null;
  }
}

export type AccessOptions = {
  readonly allowedHosts: readonly string[];
  readonly authenticator: HostAuthenticator;
  readonly operators: OperatorRegistry;
};

/** Installs the checks before the routes; returns the table that the routes then fill. */
export function installAccess(app: App, options: AccessOptions): readonly RouteAccess[] {
  const table: RouteAccess[] = [];
  app.decorateRequest('caller', null);
  app.decorateRequest('rawBody', null);
  app.addHook('onRoute', (route) => {
    const access: Access | undefined =
      route.config?.access ?? (OPEN_PATHS.has(route.url) ? { kind: 'open' } : undefined);
    if (access === undefined)
      throw new Error(`${String(route.method)} ${route.url} says no access`);
    route.config = { ...route.config, access };
    const path = route.url.replaceAll('::', ':').replaceAll(/\([^)]*\)/g, '');
    for (const method of [route.method].flat()) {
      if (method !== 'HEAD') table.push({ method, path, access });
    }
  });
  app.addHook('onRequest', async (request) => {
    checkHostHeader(request.headers.host, options.allowedHosts);
    const { access } = request.routeOptions.config;
    if (access === undefined || access.kind === 'open' || access.kind === 'join_token') return;
    request.caller = await identify(options, access, {
      authorization: request.headers.authorization,
      method: request.method,
      path: pathOf(request.url),
    });
  });
  app.addHook('preValidation', async (request) => {
    const { caller } = request;
    if (caller?.kind !== 'host') return;
    options.authenticator.checkBody(caller, sha256Hex(request.rawBody ?? ''));
    const { access } = request.routeOptions.config;
    if (access?.kind === 'host' && access.once) options.authenticator.takeOnce(caller);
  });
  return table;
}

const pathOf = (url: string): string => url.split('?', 1)[0] ?? '';

function checkHostHeader(header: string | undefined, allowed: readonly string[]): void {
  if (allowed.length === 0) return;
  const name = (header ?? '').replace(/:[0-9]+$/, '').toLowerCase();
  if (allowed.includes(name)) return;
  throw new HoldfastError(
    'foreign_host',
    `this control does not answer to ${name || 'a request without a Host'}`,
  );
}

async function identify(
  { authenticator, operators }: AccessOptions,
  access: Exclude<Access, { kind: 'open' | 'join_token' }>,
  request: { authorization: string | undefined; method: string; path: string },
): Promise<Caller> {
  const hostToken = hostTokenOf(request.authorization);
  if (hostToken !== null && access.kind !== 'operator') {
    return authenticator.authenticate(hostToken, request);
  }
  const credential = credentialOf(request.authorization);
  if (credential?.scheme.toLowerCase() === 'bearer' && access.kind !== 'host') {
    const operator = await operators.find(credential.token);
    if (operator === null)
      throw new HoldfastError('unauthenticated', 'the token is not known here');
    const others = access.kind === 'operator' && access.or !== undefined ? [access.or] : [];
    if (![access.role, ...others].some((role) => mayActAs(operator.roles, role))) {
      throw new HoldfastError(
        'forbidden',
        `this needs the role ${[access.role, ...others].join(' or ')}; ${operator.name} is ${operator.roles.join(', ')}`,
      );
    }
    return { kind: 'operator', operator };
  }
  const wanted =
    access.kind === 'host'
      ? `Authorization: ${HOST_AUTH_SCHEME} <signed token>`
      : 'Authorization: Bearer <operator token>';
  throw new HoldfastError('unauthenticated', `this needs ${wanted}`);
}

function credentialOf(authorization: string | undefined): { scheme: string; token: string } | null {
  const [scheme = '', token = '', ...rest] = (authorization ?? '').split(' ');
  return token !== '' && rest.length === 0 ? { scheme, token } : null;
}

/** The token of a host as it came; nothing of it is verified. */
export function hostTokenOf(authorization: string | undefined): string | null {
  const credential = credentialOf(authorization);
  return credential?.scheme === HOST_AUTH_SCHEME ? credential.token : null;
}

/** Of a host's token, as it came: who it says it is of. Nothing of it is verified. */
export function claimedHostOf(token: string): string | null {
  try {
    const claims: unknown = JSON.parse(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
    );
    const iss =
      typeof claims === 'object' && claims !== null && 'iss' in claims ? claims.iss : null;
    return typeof iss === 'string' && iss.length <= 100 ? iss : null;
  } catch {
    return null;
  }
}

/** The caller of a route for operators, as named in the audit trail. */
export function actorOf(caller: Caller | null): string {
  if (caller?.kind === 'operator') return `operator:${caller.operator.name}`;
  throw new HoldfastError('unauthenticated', 'this needs an operator');
}

export function operatorOf(caller: Caller | null): Operator {
  if (caller?.kind === 'operator') return caller.operator;
  throw new HoldfastError('unauthenticated', 'this needs an operator');
}

export function hostOf(caller: Caller | null): HostCaller {
  if (caller?.kind === 'host') return caller;
  throw new HoldfastError('unauthenticated', 'this needs a host');
}
