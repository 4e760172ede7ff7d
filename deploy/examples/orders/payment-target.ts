/**
 * The outside world of the demo, as a process of its own: a payment provider and a mail service. It
 * deduplicates nothing, so that whatever is sent twice shows. It compares fencing tokens for each
 * shard of orders, and, as the world does, it now and then drops a connection: before it acted, or
 * after.
 *
 * POST /effects/{charge|refund|send|delete}  JSON {operationId, order, amount}; headers Fencing-Token,
 * Fenced-Resource.
 * GET  /ledger                         all that it did, and what it refused.
 * GET  /ledger/{operationId}           what it did for one operation: what a probe asks.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { seededRandom } from './order-file.ts';

export type LedgerEntry = {
  readonly effect: string;
  readonly operationId: string;
  readonly order: string;
  readonly amount: number;
  readonly fencingToken: number | null;
  readonly atMs: number;
};

export type Ledger = {
  readonly entries: readonly LedgerEntry[];
  readonly received: number;
  readonly fenced: number;
  readonly droppedBefore: number;
  readonly droppedAfter: number;
};

/** Of the charges, this part loses its connection; half of them before anything was done. */
const DROP_RATE = 0.008;

const entries: LedgerEntry[] = [];
const highestToken = new Map<string, number>();
const counts = { received: 0, fenced: 0, droppedBefore: 0, droppedAfter: 0 };
const random = seededRandom(Number(process.argv[2] ?? 1));

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, collection, name] = (request.url ?? '').split('/');
  if (request.method === 'GET' && collection === 'ledger') {
    const found =
      name === undefined ? entries : entries.filter(({ operationId }) => operationId === name);
    return answer(response, 200, { entries: found, ...counts } satisfies Ledger);
  }
  if (request.method !== 'POST' || collection !== 'effects' || name === undefined)
    return answer(response, 404, { error: 'nothing here' });
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = JSON.parse(Buffer.concat(chunks).toString()) as {
    operationId: string;
    order: string;
    amount: number;
  };
  counts.received += 1;

  const resource = request.headers['fenced-resource'];
  const token =
    request.headers['fencing-token'] === undefined
      ? null
      : Number(request.headers['fencing-token']);
  if (typeof resource === 'string' && token !== null) {
    const highest = highestToken.get(resource) ?? 0;
    if (token < highest) {
      counts.fenced += 1;
      return answer(response, 412, { error: `token ${token} is below ${highest} for ${resource}` });
    }
    highestToken.set(resource, token);
  }
  const fate = name === 'charge' ? random() : 1;
  if (fate < DROP_RATE / 2) {
    counts.droppedBefore += 1;
    request.socket.destroy();
    return undefined;
  }
  entries.push({ effect: name, ...body, fencingToken: token, atMs: Date.now() });
  if (fate < DROP_RATE) {
    counts.droppedAfter += 1;
    request.socket.destroy();
    return undefined;
  }
  return answer(response, 200, { receipt: `${name}-${entries.length}` });
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) =>
    answer(response, 400, { error: String(error) }),
  );
});
server.listen(0, '127.0.0.1', () =>
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`),
);
// Its parent holds the other end: the target ends with the demo, however that ends.
process.stdin.resume().on('end', () => process.exit(0));
