/**
 * The gateway over streamable HTTP: many sessions of clients on this host in front of one upstream.
 *
 * L1  What the guard refuses is refused before its body is read.
 * L2  Sessions are bounded: one that nobody has used for a while is closed, and the one longest unused
 *     makes room for a new one. Its client is answered 404 and begins another, as the protocol has it.
 *     What a session has asked for outlives it (W3).
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Clock, Timer } from '../../../shared/platform/clock.ts';
import { randomText, type Random } from '../../../shared/platform/random.ts';
import { CommandError, EXIT } from '../failures.ts';
import { MCP_PATH, type HttpRefusal, type RequestHead } from './http-guard.ts';
import type { Front } from './sdk-server.ts';

const SESSIONS_MAX = 500;
const SESSION_IDLE_MS = 30 * 60_000;
const SESSION_ID_BYTES = 24;
const HEADERS_TIMEOUT_MS = 10_000;
/** Until a request has arrived; its answer may take as long as the call does. */
const REQUEST_TIMEOUT_MS = 30_000;
const CONNECTIONS_MAX = 1_000;
const SESSION_HEADER = 'mcp-session-id';

export type HttpParts = {
  readonly listen: { readonly host: string; readonly port: number };
  readonly refusal: (head: RequestHead) => HttpRefusal | null;
  readonly messageBytesMax: number;
  /** A server for one session. */
  readonly openServer: () => McpServer;
  readonly clock: Clock;
  readonly random: Random;
  readonly onListening: (url: string) => void;
  /** Of an answer that could not be given. */
  readonly onFault: (error: unknown) => void;
  readonly stop: AbortSignal;
};

export async function serveHttp(parts: HttpParts): Promise<Front> {
  const { listen, onListening, onFault, stop } = parts;
  const sessions = new HttpSessions(parts);
  const server = createServer(
    { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      sessions.answer(request, response).catch((error: unknown) => {
        onFault(error);
        response.destroy();
      });
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  await listening(server, listen);
  const { port } = server.address() as AddressInfo;
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  onListening(`http://${host}:${port}${MCP_PATH}`);
  return {
    ended: stop.aborted ? Promise.resolve() : once(stop, 'abort').then(() => undefined),
    toolsChanged: () => sessions.toolsChanged(),
    close: async () => {
      server.close();
      await sessions.close();
      server.closeAllConnections();
    },
  };
}

async function listening(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CommandError(
      'cannot_listen',
      `cannot listen on ${host}:${port}: ${code ?? message}`,
      {
        exitCode: EXIT.unavailable,
        hint: 'name another address with --listen; port 0 takes any free one',
        cause: error,
      },
    );
  }
}

type Session = {
  readonly transport: StreamableHTTPServerTransport;
  readonly server: McpServer;
  /** Requests whose answer is not complete, the stream of notifications among them. */
  open: number;
  idle: Timer | null;
};

class HttpSessions {
  readonly #parts: HttpParts;
  /** The one longest unused comes first. */
  readonly #sessions = new Map<string, Session>();

  constructor(parts: HttpParts) {
    this.#parts = parts;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refusal = this.#parts.refusal(request);
    if (refusal !== null) return refuse(response, refusal);
    if (this.#parts.stop.aborted)
      return refuse(response, { status: 503, detail: 'the gateway is being stopped' });
    const id = request.headers[SESSION_HEADER];
    if (id === undefined) return this.#begin(request, response);
    const session = this.#sessions.get(String(id));
    if (session === undefined)
      return refuse(response, { status: 404, detail: 'Session not found: begin another' });
    this.#use(String(id), session, response);
    return session.transport.handleRequest(request, response);
  }

  toolsChanged(): void {
    for (const { server } of this.#sessions.values()) server.sendToolListChanged();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions.keys()].map((id) => this.#end(id)));
  }

  /** L2. */
  async #begin(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#sessions.size >= SESSIONS_MAX && !(await this.#makeRoom())) {
      const detail = `${SESSIONS_MAX} sessions are in use: end one, or try again later`;
      return refuse(response, { status: 503, detail });
    }
    const server = this.#parts.openServer();
    const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomText(this.#parts.random, SESSION_ID_BYTES),
      maxRequestBodySize: this.#parts.messageBytesMax,
      onsessioninitialized: (id) =>
        this.#use(id, { transport, server, open: 0, idle: null }, response),
      onsessionclosed: (id) => void this.#end(id),
    });
    await server.connect(transport);
    await transport.handleRequest(request, response);
    // It was no beginning of a session, and has been told so.
    if (transport.sessionId === undefined) await server.close();
    return undefined;
  }

  #use(id: string, session: Session, response: ServerResponse): void {
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    session.open += 1;
    session.idle?.cancel();
    response.once('close', () => {
      session.open -= 1;
      if (session.open > 0 || this.#sessions.get(id) !== session) return;
      session.idle = this.#parts.clock.startTimer(SESSION_IDLE_MS, () => void this.#end(id));
    });
  }

  async #makeRoom(): Promise<boolean> {
    const [id] = [...this.#sessions].find(([, { open }]) => open === 0) ?? [];
    if (id !== undefined) await this.#end(id);
    return id !== undefined;
  }

  async #end(id: string): Promise<void> {
    const session = this.#sessions.get(id);
    this.#sessions.delete(id);
    session?.idle?.cancel();
    await session?.server.close();
  }
}

function refuse(
  response: ServerResponse,
  { status, detail }: { readonly status: number; readonly detail: string },
): void {
  const headers = {
    'content-type': 'application/json',
    // What is left of its body is not read.
    connection: 'close',
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(status === 503 ? { 'retry-after': '5' } : {}),
  };
  const code = status === 404 ? -32_001 : -32_000;
  const body = { jsonrpc: '2.0', error: { code, message: detail }, id: null };
  response.writeHead(status, headers).end(JSON.stringify(body));
}
