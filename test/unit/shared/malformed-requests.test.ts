/** What is no request has an answer with a code all the same, and nobody's answer but its own. */
import { connect, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { App } from '../../../shared/platform/http/app.ts';
import { buildServer } from '../../../shared/platform/http/server.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';

let app: App;
/** Set free by the test, so that a request can be waited for. */
let release: () => void;
let asked: Promise<void>;

beforeEach(async () => {
  app = buildServer({
    logger: createLogger({ name: 'test', level: 'silent' }),
    random: new SystemRandom(),
    title: 'test',
    description: 'test',
    version: '0',
    bodyBytesMax: 65_536,
    handlerTimeoutMs: 5_000,
  });
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  release = held.resolve;
  asked = begun.promise;
  app.get('/ok', () => ({ fine: true }));
  app.post('/held', async () => {
    begun.resolve();
    await held.promise;
    return { recorded: true };
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
});
afterEach(async () => {
  release();
  await app.close();
});

/** Writes the parts, each once the one before has been taken up, and reads until the end. */
async function exchange(...parts: readonly (string | Promise<string>)[]): Promise<string> {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8').on('data', (data: string) => (received += data));
  socket.on('error', () => undefined);
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  socket.once('close', () => resolve());
  for (const part of parts) socket.write(await part);
  await closed;
  return received;
}

function codeIn(answer: string): unknown {
  return (JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))) as { code: unknown }).code;
}

test.each([
  ['bytes that are no HTTP', 'hello\r\n\r\n', 400, 'invalid_request'],
  [
    'a control character in a header',
    'GET /ok HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n',
    400,
    'invalid_request',
  ],
  [
    'two lengths',
    'GET /ok HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n',
    400,
    'invalid_request',
  ],
  [
    'a head that is too large',
    `GET /ok HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(17_000)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
  ['no Host', 'GET /ok HTTP/1.1\r\nconnection: close\r\n\r\n', 400, 'invalid_request'],
  [
    'an Expect that nobody can meet',
    'GET /ok HTTP/1.1\r\nhost: a\r\nexpect: tea\r\n\r\n',
    417,
    'expectation_failed',
  ],
] as const)('%s is refused with a problem document', async (_, text, status, code) => {
  const answer = await exchange(text);
  expect(answer).toContain(`HTTP/1.1 ${status} `);
  expect(answer.toLowerCase()).toContain('content-type: application/problem+json');
  expect(codeIn(answer)).toBe(code);
});

test('HTTP/1.0 needs no Host', async () => {
  expect(await exchange('GET /ok HTTP/1.0\r\n\r\n')).toContain('{"fine":true}');
});

test('I1: a whole request is not told of what is wrong behind it: the connection is cut', async () => {
  const whole =
    'POST /held HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}';
  expect(
    await exchange(
      whole,
      asked.then(() => 'garbage\r\n\r\n'),
    ),
  ).toBe('');
});

test('a request whose own body cannot be read is told so', async () => {
  const broken =
    'POST /held HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n';
  expect(codeIn(await exchange(broken))).toBe('invalid_request');
});
