import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { App } from '../../../shared/platform/http/app.ts';
import { BODY_TIMEOUT_MS, buildServer } from '../../../shared/platform/http/server.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';

const HANDLER_TIMEOUT_MS = 5_000;

let app: App;
afterEach(() => app.close());

function build(): App {
  return buildServer({
    logger: createLogger({ name: 'test', level: 'silent' }),
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
