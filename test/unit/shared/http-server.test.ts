import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { App } from '../../../shared/platform/http/app.ts';
import { BODY_TIMEOUT_MS, buildServer } from '../../../shared/platform/http/server.ts';
import { createLogger, type Logger, type LogLevel } from '../../../shared/platform/logger.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';

const HANDLER_TIMEOUT_MS = 5_000;

let app: App;
afterEach(() => app.close());

function build(logger: Logger = createLogger({ name: 'test', level: 'silent' })): App {
  return buildServer({
    logger,
    random: new SystemRandom(),
    title: 'test',
    description: 'test',
    version: '0',
    bodyBytesMax: 65_536,
    handlerTimeoutMs: HANDLER_TIMEOUT_MS,
  });
}

/** Resolves to what came back by the time the connection was closed from the other side. */
async function exchange(text: string): Promise<string> {
  const { port } = app.server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8').on('data', (data: string) => (received += data));
  socket.write(text);
  await once(socket, 'close');
  return received;
}

const HEAD = 'HTTP/1.1\r\nhost: 127.0.0.1\r\n';

test.each([
  ['without a body', `GET /never ${HEAD}\r\n`],
  [
    'with a body',
    `POST /never ${HEAD}content-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
  ],
])('a request %s that is never answered ends with its connection', async (_name, text) => {
  app = build();
  app.get('/never', () => new Promise(() => undefined));
  app.post('/never', () => new Promise(() => undefined));
  await app.listen({ port: 0, host: '127.0.0.1' });
  expect(app.server.timeout).toBe(HANDLER_TIMEOUT_MS + BODY_TIMEOUT_MS);
  app.server.setTimeout(50);
  expect(await exchange(text)).toBe('');
});

test('a head and a body have a time by which they must be there', async () => {
  app = build();
  expect(app.server.requestTimeout).toBe(BODY_TIMEOUT_MS);
  expect(app.server.headersTimeout).toBe(BODY_TIMEOUT_MS);
});

function linesAt(level: LogLevel): { logger: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
  };
  return { logger: createLogger({ name: 'test', level, destination: { write } }), lines };
}

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const headers = { traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01` };

test('what a request logs carries its id and its trace', async () => {
  const { logger, lines } = linesAt('debug');
  app = build(logger);
  app.get('/fails', (request) => {
    request.log.info({ fact: 1 }, 'said by the route');
    throw new Error('broken');
  });
  const answer = await app.inject({ url: '/fails', headers });
  expect(answer.json()).toMatchObject({ code: 'internal' });
  const said = lines.filter(({ reqId }) => reqId !== undefined);
  expect(said).toMatchObject([
    { msg: 'said by the route', level: 'info', fact: 1, trace_id: TRACE_ID },
    { msg: 'request failed', level: 'error', trace_id: TRACE_ID },
    { msg: 'request', level: 'warn', status: 500, route: '/fails', trace_id: TRACE_ID },
  ]);
  const [id] = new Set(said.map(({ reqId }) => reqId));
  expect(id).toMatch(/^[\w-]{12}$/);
  expect(answer.json<{ detail: string }>().detail).toContain(`request id ${String(id)}`);
});

test('a request that went well is logged at debug only, with or without a trace', async () => {
  const warned = linesAt('warn');
  app = build(warned.logger);
  app.get('/well', () => ({}));
  await app.inject({ url: '/well', headers });
  await app.close();
  expect(warned.lines).toEqual([]);
  const debugged = linesAt('debug');
  app = build(debugged.logger);
  app.get('/well', () => ({}));
  await app.inject({ url: '/well' });
  expect(debugged.lines).toMatchObject([{ msg: 'request', status: 200, level: 'debug' }]);
  expect(debugged.lines[0]).not.toHaveProperty('trace_id');
});

test('no two requests have the same id', async () => {
  app = build();
  app.get('/id', (request) => ({ id: request.id }));
  const ids = new Set<string>();
  for (let index = 0; index < 600; index += 1)
    ids.add((await app.inject('/id')).json<{ id: string }>().id);
  expect(ids.size).toBe(600);
  expect([...ids].filter((id) => !/^[\w-]{12}$/.test(id))).toEqual([]);
});

test.each([
  ['__proto__', '{"a":{"__proto__":{"b":1}}}'],
  ['an escaped __proto__', String.raw`{"\u005f_proto__":1}`],
  ['a prototype of a constructor', '{"constructor":{"prototype":{"b":1}}}'],
  ['65 levels', `${'['.repeat(65)}${']'.repeat(65)}`],
  ['an infinity', '{"a":1e400}'],
])('a body with %s is refused', async (_name, payload) => {
  app = build();
  app.post('/body', () => ({}));
  const answer = await app.inject({
    method: 'POST',
    url: '/body',
    headers: { 'content-type': 'application/json' },
    payload,
  });
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([400, 'invalid_json']);
});
