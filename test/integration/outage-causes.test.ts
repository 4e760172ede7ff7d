/**
 * How control could not be reached, told by the link of a sidecar over real sockets (I10): each kind
 * as its own, and an answer of control as none of them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostIdentity } from '../../dataplane/authority/identity.ts';
import { ControlLink } from '../../dataplane/upstream/control-link.ts';
import { UndiciTransport, type Transport } from '../../shared/client/transport.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import type { OutageCause } from '../../shared/wire/operation.ts';
import { FakeControl } from '../fakes/fake-control.ts';
import { FakeRandom } from '../fakes/fake-random.ts';

const TIMEOUT_MS = 250;
const clock = new SystemClock();

let dataDir: string;
let transport: Transport;
let link: ControlLink;
let closing: (() => unknown)[];

beforeEach(async () => {
  closing = [];
  dataDir = mkdtempSync(`${tmpdir()}/causes-`);
  const control = await FakeControl.start(clock);
  transport = control;
  const identity = new HostIdentity({
    dataDir,
    hostName: 'host-1',
    logger: createLogger({ name: 'test', level: 'silent' }),
    random: new FakeRandom(6),
  });
  await identity.open();
  const swapped: Transport = {
    send: (request) => transport.send(request),
    close: () => Promise.resolve(),
  };
  const random = new FakeRandom(7);
  link = new ControlLink({
    transport: swapped,
    identity,
    clock,
    random,
    requestTimeoutMs: TIMEOUT_MS,
  });
  const token = control.joinToken();
  const keyThumbprint = token.split('.')[3] ?? '';
  const join = { token, keyThumbprint, hostName: 'host-1' };
  const enrolled = await link.enrol(join, new AbortController().signal);
  if (enrolled.kind !== 'answer') throw new Error(enrolled.detail);
  await identity.recordEnrolment(enrolled.payload);
});

afterEach(async () => {
  for (const close of closing) await close();
  rmSync(dataDir, { recursive: true });
});

async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** Says this for each request, and then does with the connection what the test wants. */
const saying = (text: string, then: (socket: Socket) => void = () => undefined): Server =>
  createServer((socket) => {
    socket.on('data', () => socket.write(text, () => then(socket)));
  });

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const http = (port: number): string => `http://127.0.0.1:${port}`;
const https = (port: number): string => `https://127.0.0.1:${port}`;
const answer = (head: string, body = ''): string =>
  `HTTP/1.1 ${head}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const CUT_SHORT = 'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nthe beginning of';

const NOTHING = { previousHash: FIRST_PREVIOUS_HASH, entries: [] };

const kinds: [string, OutageCause, () => Promise<string> | string][] = [
  ['nobody listens on the port', 'refused', async () => http(await freePort())],
  // A label that no resolver takes: the answer does not depend on the network of this machine.
  ['the name does not resolve', 'dns', () => `http://${'x'.repeat(64)}.invalid:7480`],
  [
    'the handshake never comes to an end',
    'timeout',
    async () => https(await listening(createServer())),
  ],
  [
    'the connection is taken and nothing follows',
    'half_open',
    async () => http(await listening(createServer())),
  ],
  [
    'the answer begins and stands still',
    'half_open',
    async () => http(await listening(saying(CUT_SHORT))),
  ],
  [
    'the connection is cut before an answer',
    'reset',
    async () => http(await listening(saying('', (socket) => socket.resetAndDestroy()))),
  ],
  [
    'the connection is cut in the middle of the answer',
    'reset',
    async () => http(await listening(saying(CUT_SHORT, (socket) => socket.end()))),
  ],
  [
    'TLS is asked of what does not speak it',
    'tls',
    async () => https(await listening(saying(answer('400 Bad Request')))),
  ],
  [
    'TLS is spoken by what has no certificate',
    'tls',
    async () => https(await listening(createTlsServer())),
  ],
  [
    'control fails',
    'server_error',
    async () => http(await listening(saying(answer('500 Internal Server Error', 'oops')))),
  ],
  [
    'something else answers',
    'bad_answer',
    async () => http(await listening(saying(answer('200 OK', '<html>log in</html>')))),
  ],
];

describe('I10: each way in which control cannot be reached is told as its own', () => {
  test.each(kinds)('%s: %s', async (_, cause, start) => {
    const url = await start();
    const network = new UndiciTransport({ url });
    closing.unshift(() => network.close());
    transport = network;
    const result = await link.report(NOTHING, 'json');
    expect(result).toMatchObject({ kind: 'unreachable', cause });
    expect((result as { detail: string }).detail).not.toBe('');
  });

  test('a connection that was good and goes silent is half open', async () => {
    let isSilent = false;
    const port = await listening(
      createServer((socket) => {
        socket.on('data', () => {
          if (!isSilent) socket.write(answer('500 Internal Server Error'));
        });
      }),
    );
    transport = new UndiciTransport({ url: http(port) });
    closing.unshift(() => transport.close());
    expect(await link.report(NOTHING, 'json')).toMatchObject({ cause: 'server_error' });
    isSilent = true;
    expect(await link.report(NOTHING, 'json')).toMatchObject({ cause: 'half_open' });
  });
});
