/**
 * Who may come in over HTTP, decided from the head of a request before its body is read: programs of
 * this host, as at the sidecar. Pure.
 *
 * G1  The Host is one of ours, so that a rebound DNS name reaches nothing.
 * G2  What a browser or a proxy made says so in its headers, and is refused: of the page that sent it
 *     the token would say nothing.
 * G3  Every request has the token of the gateway's clients, also one that names a session: a session
 *     is no proof of who asks.
 */
export type RequestHead = {
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly rawHeaders: readonly string[];
};

export type GuardSettings = {
  /** Without port, besides those of the loopback. */
  readonly allowedHosts: readonly string[];
  readonly isToken: (text: string) => boolean;
};

export type HttpRefusal = { readonly status: 401 | 403 | 404; readonly detail: string };

export const MCP_PATH = '/mcp';
const LOOPBACK_HOSTS = ['127.0.0.1', 'localhost', '[::1]'];
const FORWARDING_HEADERS = ['x-forwarded-for', 'x-forwarded-host', 'forwarded', 'via'] as const;
const PORT = /:\d+$/;
const BEARER = /^Bearer ([\x21-\x7e]+)$/i;

export function requestRefusal(
  { url = '', headers, rawHeaders }: RequestHead,
  { allowedHosts, isToken }: GuardSettings,
): HttpRefusal | null {
  const host = textOf(headers['host']);
  const hosts = [...LOOPBACK_HOSTS, ...allowedHosts.map((name) => name.toLowerCase())];
  // G1. Node keeps the first of several, and says nothing.
  const isOurs = hostHeaders(rawHeaders) === 1 && hosts.includes(bareHost(host));
  if (!isOurs || !url.startsWith('/'))
    return forbidden(
      `Host ${host === '' ? '(none)' : host} is not answered here: use 127.0.0.1, or add the name to --allowed-hosts`,
    );
  // G2.
  const site = headers['sec-fetch-site'];
  if (headers['origin'] !== undefined || (site !== undefined && site !== 'none'))
    return forbidden('requests of web pages are refused: call from a program on this host');
  const forwarding = FORWARDING_HEADERS.find((name) => headers[name] !== undefined);
  if (forwarding !== undefined)
    return forbidden(`the header ${forwarding} says that a proxy sent this: call directly`);
  // G3.
  const token = BEARER.exec(textOf(headers['authorization']))?.[1];
  if (token === undefined)
    return unauthenticated(
      'send Authorization: Bearer <token> with the token of --client-token-file',
    );
  if (!isToken(token))
    return unauthenticated('the bearer token is not that of --client-token-file');
  const path = url.split('?', 1)[0] ?? '';
  return path === MCP_PATH
    ? null
    : { status: 404, detail: `${path.slice(0, 100)} is nothing here: the endpoint is ${MCP_PATH}` };
}

const bareHost = (host: string): string => host.replace(PORT, '').toLowerCase();
const textOf = (value: string | readonly string[] | undefined): string =>
  typeof value === 'string' ? value : '';
const forbidden = (detail: string): HttpRefusal => ({ status: 403, detail });
const unauthenticated = (detail: string): HttpRefusal => ({ status: 401, detail });

const hostHeaders = (rawHeaders: readonly string[]): number =>
  rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length;
