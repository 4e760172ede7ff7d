/**
 * The outside world of the agent, as a process of its own: an order system, a bank, a mail service.
 * What it did is in its ledger. It knows repeated calls of two tools by their key, and of the others
 * not, so that whatever is called twice shows.
 *
 * POST   /tools/{tool}    JSON arguments; headers Idempotency-Key, Conversation.
 * GET    /ledger?conversation=C
 * POST   /holds           JSON {conversation, tool, when}: the next call of that tool is held, `before`
 *                         it acts or `after`, so that somebody can be killed in the middle of it.
 * GET    /holds/{id}      answers once a call is held.
 * DELETE /holds/{id}?act=true|false   lets it go on, and act if it has not; or gives the hold up.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type LedgerEntry = {
  readonly conversation: string;
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string;
  readonly atMs: number;
};

type Hold = {
  readonly conversation: string;
  readonly tool: string;
  readonly when: 'before' | 'after';
  readonly held: PromiseWithResolvers<void>;
  readonly released: PromiseWithResolvers<{ readonly act: boolean }>;
  isTaken: boolean;
};

const KNOWS_KEYS: ReadonlySet<string> = new Set(['find_order', 'book_courier']);
const entries: LedgerEntry[] = [];
const holds: Hold[] = [];

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '', 'http://desk');
  const [, collection, name = ''] = pathname.split('/');
  if (request.method === 'GET' && collection === 'ledger') {
    const conversation = searchParams.get('conversation');
    return answer(response, 200, {
      entries: entries.filter((entry) => entry.conversation === conversation),
    });
  }
  if (collection === 'holds') return onHold(request, response, Number(name), searchParams);
  if (request.method !== 'POST' || collection !== 'tools')
    return answer(response, 404, { error: 'nothing here' });
  return onCall(name, request, response);
}

async function onCall(
  tool: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const args = (await bodyOf(request)) as Record<string, unknown>;
  const conversation = String(request.headers['conversation']);
  const idempotencyKey = String(request.headers['idempotency-key']);
  const isKnown =
    KNOWS_KEYS.has(tool) && entries.some((entry) => entry.idempotencyKey === idempotencyKey);
  const hold = holds.find(
    (it) => !it.isTaken && it.conversation === conversation && it.tool === tool,
  );
  if (hold !== undefined) hold.isTaken = true;
  if (hold?.when === 'before') {
    hold.held.resolve();
    // Lost on its way: whoever sent it is gone, and so is this.
    if (!(await hold.released.promise).act) return void request.socket.destroy();
  }
  if (args['day'] === 'sunday') return answer(response, 422, { error: 'no courier on Sundays' });
  if (!isKnown) entries.push({ conversation, tool, args, idempotencyKey, atMs: Date.now() });
  if (hold?.when === 'after') {
    hold.held.resolve();
    await hold.released.promise;
  }
  return answer(response, 200, { receipt: `${tool}-${entries.length}` });
}

async function onHold(
  request: IncomingMessage,
  response: ServerResponse,
  id: number,
  query: URLSearchParams,
): Promise<void> {
  if (request.method === 'POST') {
    const asked = (await bodyOf(request)) as Pick<Hold, 'conversation' | 'tool' | 'when'>;
    const held = Promise.withResolvers<void>();
    const released: Hold['released'] = Promise.withResolvers();
    holds.push({ ...asked, held, released, isTaken: false });
    return answer(response, 201, { id: holds.length - 1 });
  }
  const hold = holds[id];
  if (hold === undefined) return answer(response, 404, { error: 'no such hold' });
  if (request.method === 'GET') {
    await hold.held.promise;
    return answer(response, 200, {});
  }
  const wasTaken = hold.isTaken;
  hold.isTaken = true;
  hold.held.resolve();
  hold.released.resolve({ act: query.get('act') === 'true' });
  return answer(response, 200, { wasTaken });
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString());
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
// Its parent holds the other end: the desk ends with the story, however that ends.
process.stdin.resume().on('end', () => process.exit(0));
