/**
 * Objects over HTTP as S3 keeps them: conditional writes, metadata in `x-amz-meta-*`, and ETags that
 * are the MD5 of the bytes, so that the same bytes have the same one.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

type StoredObject = {
  readonly body: string;
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
};

export class ObjectServer {
  readonly #objects = new Map<string, StoredObject>();
  readonly #server: Server;
  /** Every object that was written, in the order of the writes. */
  readonly written: { readonly path: string; readonly headers: StoredObject['headers'] }[] = [];
  /** Conditional writes that were refused. */
  refused = 0;
  /** As many of the next writes are answered 409, as S3 does while another is under way. */
  conflicts = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  static async start(): Promise<ObjectServer> {
    const server = new ObjectServer();
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const body = await text(request);
    // From here on nothing waits: comparing and storing are one step.
    const stored = this.#objects.get(path);
    if (request.method === 'PUT') return this.#put(path, request, { body, stored }, response);
    if (stored === undefined) return end(response, 404);
    if (request.method === 'DELETE') {
      this.#objects.delete(path);
      return end(response, 204);
    }
    const headers = { ...stored.headers, etag: stored.etag };
    return end(response, 200, headers, request.method === 'HEAD' ? '' : stored.body);
  }

  #put(
    path: string,
    { headers: asked }: IncomingMessage,
    { body, stored }: { body: string; stored: StoredObject | undefined },
    response: ServerResponse,
  ): void {
    if (this.conflicts > 0) {
      this.conflicts -= 1;
      return end(response, 409, {}, 'ConditionalRequestConflict');
    }
    const wanted = asked['if-match'];
    if (wanted !== undefined && stored === undefined) return end(response, 404);
    const isOther = wanted !== undefined && wanted !== stored?.etag;
    if (isOther || (asked['if-none-match'] === '*' && stored !== undefined)) {
      this.refused += 1;
      return end(response, 412, {}, 'PreconditionFailed');
    }
    const kept = Object.entries(asked).filter(
      ([name]) => name === 'content-type' || name.startsWith('x-amz-meta-'),
    );
    const headers = Object.fromEntries(kept.map(([name, value]) => [name, String(value)]));
    const etag = `"${createHash('md5').update(body).digest('hex')}"`;
    this.#objects.set(path, { body, etag, headers });
    this.written.push({ path, headers });
    return end(response, 200, { etag });
  }
}

function end(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body = '',
): void {
  response.writeHead(status, headers).end(body);
}
