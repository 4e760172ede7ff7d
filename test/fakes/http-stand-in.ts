/** A real HTTP server that answers as a test tells it to, and remembers what it was asked. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ERRORS, PROBLEM_CONTENT_TYPE, type ErrorCode } from '../../shared/wire/problem.ts';

export type Asked = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
};

export type Answer =
  | {
      readonly status: number;
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The connection breaks after the request was read. */
  | 'reset'
  /** No answer, ever. */
  | 'silence';

export type StandIn = {
  readonly url: string;
  readonly asked: Asked[];
  close(): Promise<void>;
};

export async function openStandIn(
  answer: (asked: Asked) => Answer,
  options: { readonly socketPath?: string } = {},
): Promise<StandIn> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    void read(request).then((question) => {
      asked.push(question);
      const given = answer(question);
      if (given === 'silence') return;
      if (given === 'reset') {
        request.socket.destroy();
        return;
      }
      const text = typeof given.body === 'string' ? given.body : JSON.stringify(given.body ?? {});
      response
        .writeHead(given.status, { 'content-type': 'application/json', ...given.headers })
        .end(text);
    });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  if (options.socketPath === undefined) server.listen(0, '127.0.0.1', resolve);
  else server.listen(options.socketPath, resolve);
  await promise;
  const address = server.address() as AddressInfo | string;
  const url = typeof address === 'string' ? `unix:${address}` : `http://127.0.0.1:${address.port}`;
  return { url, asked, close: () => close(server) };
}

/** A problem as the daemons send it. */
export function problem(code: ErrorCode, extras: Readonly<Record<string, unknown>> = {}): Answer {
  const { status, title, retryable } = ERRORS[code];
  return {
    status,
    headers: { 'content-type': PROBLEM_CONTENT_TYPE },
    body: {
      type: `urn:holdfast:problem:${code}`,
      title,
      status,
      detail: `about ${code}`,
      code,
      retryable,
      ...extras,
    },
  };
}

async function read(request: IncomingMessage): Promise<Asked> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  return { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body };
}

async function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeAllConnections();
  await promise;
}
