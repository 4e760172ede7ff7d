/** The wire of the campaigns does what it is told, and nothing while it is told nothing. */
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeRandom } from '../../fakes/fake-random.ts';
import { ChaosProxy } from '../../faults/inject/chaos-proxy.ts';

let server: Server;
let proxy: ChaosProxy;
let url: URL;
/** At the far end. */
let arrived: string;
let answer: (socket: Socket) => void;
const clients: Socket[] = [];

beforeEach(async () => {
  arrived = '';
  answer = (socket) => void socket.write('answer');
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      arrived += bytes.toString();
      answer(socket);
    });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  proxy = new ChaosProxy((server.address() as AddressInfo).port, new FakeRandom(1));
  url = new URL(await proxy.listen());
});
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  proxy.close();
  server.close();
});

type Near = {
  readonly socket: Socket;
  readonly came: () => string;
  /** Resolves once `came` has something, or the connection is over. */
  readonly next: () => Promise<void>;
};

async function open(): Promise<Near> {
  const socket = connect(Number(url.port), url.hostname);
  clients.push(socket);
  socket.on('error', () => undefined);
  let text = '';
  let wake = Promise.withResolvers<void>();
  socket.setEncoding('latin1').on('data', (data: string) => {
    text += data;
    wake.resolve();
    wake = Promise.withResolvers();
  });
  socket.once('close', () => wake.resolve());
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('connect', resolve);
  await promise;
  return { socket, came: () => text, next: () => wake.promise };
}

async function ask(near: Near): Promise<string> {
  const next = near.next();
  near.socket.write('question');
  await next;
  return near.came();
}

test('a whole wire carries both ways', async () => {
  expect(await ask(await open())).toBe('answer');
  expect(arrived).toBe('question');
  expect(Object.values(proxy.disturbed)).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

test('latency, jitter and a narrow wire delay and keep the order', async () => {
  const long = Array.from({ length: 400 }, (_, at) => `${at},`).join('');
  answer = (socket) => {
    for (const part of long.match(/.{1,100}/gs) ?? []) socket.write(part);
    socket.end();
  };
  proxy.set({ latencyMs: 1, jitterMs: 5, bytesPerSecond: 200_000 });
  const near = await open();
  await ask(near);
  while (!near.came().includes('399,') && !near.socket.destroyed) await near.next();
  expect(near.came()).toBe(long);
  expect(proxy.disturbed.delayed).toBeGreaterThan(0);
  expect(proxy.disturbed.throttled).toBeGreaterThan(0);
});

test('a connection is reset in the middle of an answer', async () => {
  answer = (socket) => void socket.write('x'.repeat(1_000));
  proxy.set({ resetAfterBytes: 300 });
  const near = await open();
  const closed = new Promise((resolve) => near.socket.once('close', resolve));
  await ask(near);
  await closed;
  expect(near.came().length).toBeLessThanOrEqual(300);
  expect(proxy.disturbed.reset).toBe(1);
});

test('half-open: the far end is gone, and the near one is not told', async () => {
  const near = await open();
  await ask(near);
  proxy.set({ isHalfOpen: true });
  near.socket.write('more');
  const other = await open();
  other.socket.write('question');
  while (proxy.disturbed.droppedUp < 2) await new Promise((resolve) => setImmediate(resolve));
  expect([near.socket.destroyed, other.socket.destroyed]).toEqual([false, false]);
  expect(arrived).toBe('question');
  expect(proxy.disturbed.halfOpened).toBe(2);
});

test('garbage is as long as what was sent, and something else', async () => {
  proxy.set({ garbageShare: 1 });
  const came = await ask(await open());
  expect(came).toHaveLength('answer'.length);
  expect(came).not.toBe('answer');
  expect(proxy.disturbed.garbled).toBe(1);
});

test('healed, it is whole again, over new connections', async () => {
  const near = await open();
  await ask(near);
  const closed = new Promise((resolve) => near.socket.once('close', resolve));
  proxy.set({ up: false, down: false });
  proxy.heal();
  await closed;
  expect(await ask(await open())).toBe('answer');
});
