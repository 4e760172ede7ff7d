/** Control as one host has it: all is passed on, and what it is told of revisions is kept. */
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { STATEMENT_CONTENT_TYPE } from '../../shared/wire/statements.ts';

export type OverheardControl = {
  readonly url: string;
  /** The revision in each statement that named one: sync answers, bundles, decisions. */
  readonly told: readonly number[];
  /** While it is, control is out of reach of this host. */
  isCut: boolean;
  close(): Promise<void>;
};

export async function overhearControl(controlUrl: string): Promise<OverheardControl> {
  const told: number[] = [];
  const server = createServer((asked, answer) => {
    if (overheard.isCut) {
      asked.socket.destroy();
      return;
    }
    const { method, headers, url = '/' } = asked;
    const onward = request(new URL(url, controlUrl), { method, headers }, (given) => {
      void read(given).then((body) => {
        told.push(...revisionsIn(given, body));
        answer.writeHead(given.statusCode ?? 502, given.headers).end(body);
      });
    });
    onward.on('error', () => asked.socket.destroy());
    // A long poll that the host has given up.
    answer.on('close', () => onward.destroy());
    asked.pipe(onward);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  const close = async (): Promise<void> => {
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    server.closeAllConnections();
    await closed.promise;
  };
  const { port } = server.address() as AddressInfo;
  let isCut = false;
  const overheard = {
    url: `http://127.0.0.1:${port}`,
    told,
    get isCut() {
      return isCut;
    },
    set isCut(now) {
      isCut = now;
      // A long poll that is open would still bring what comes.
      if (now) server.closeAllConnections();
    },
    close,
  };
  return overheard;
}

function revisionsIn({ headers }: IncomingMessage, body: Buffer): number[] {
  if (!(headers['content-type'] ?? '').startsWith(STATEMENT_CONTENT_TYPE)) return [];
  const [, payload = ''] = body.toString().split('.');
  const said = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  const { policyRevision } = said;
  return typeof policyRevision === 'number' ? [policyRevision] : [];
}

async function read(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
