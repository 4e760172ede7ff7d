/** Config values over HTTP, with authority set by hand and a clock that moves only when told. */
import { createConnection, type AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LightMyRequestResponse } from 'fastify';
import { HEARTBEAT_MS, SLOW_READER_MS, streamConfig } from '../../dataplane/http/config-stream.ts';
import { ConfigValues } from '../../dataplane/authority/config-values.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { MINUTE_MS } from '../../shared/core/time.ts';
import type { ConfigLine } from '../../shared/wire/config-value.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { FakeAuthority, TEST_POLICY, activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { APP_TOKEN, openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { callerOf } from '../fakes/sidecar-caller.ts';

const CONFIG: NonNullable<PolicyDocument['config']> = {
  'checkout.banner': { value: 'sale', maxStaleness: '24h', onExpiry: 'default', default: '' },
  'routing.weights': { value: { a: 90, b: 10 }, maxStaleness: '10m', onExpiry: 'error' },
  'search.size': { value: 20, maxStaleness: '5m', onExpiry: 'last' },
  'search.boost': { value: 2, maxStaleness: '5m', onExpiry: 'default', default: 1 },
};
const withConfig = (config: NonNullable<PolicyDocument['config']>): PolicyDocument => ({
  ...TEST_POLICY,
  config,
});

let clock: FakeClock;
let sidecar: TestSidecar;
const { call } = callerOf(() => sidecar);

beforeEach(async () => {
  clock = new FakeClock();
  sidecar = await openTestSidecar({ clock });
  sidecar.authority.active = activePolicy(withConfig(CONFIG), 3);
  confirmAgo(1_000);
});
afterEach(() => sidecar.close());

/** Authority as old as that now, and ageing with the clock from here on. */
function confirmAgo(ageMs: number): void {
  const bootMs = clock.now().bootMs - ageMs;
  sidecar.authority.stalenessMs = () => clock.now().bootMs - bootMs;
  sidecar.authority.changed();
}

const read = (key: string, headers: Record<string, string> = {}, query = '') =>
  call('GET', `/v1/config/${key}${query}`, { headers });
const etagOf = (answer: LightMyRequestResponse): string => String(answer.headers['etag']);

/** Lets the code that waits go on until the answer is there; no time passes. */
async function isAnswered(answer: Promise<unknown>): Promise<boolean> {
  let done = false;
  void answer.then(() => (done = true));
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  return done;
}

describe('a config value', () => {
  test('says its revision, its age, when it ends, and on what it rests', async () => {
    const answer = await read('routing.weights');
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      key: 'routing.weights',
      value: { a: 90, b: 10 },
      source: 'policy',
      expired: false,
      reason: null,
      onExpiry: 'error',
      policyRevision: 3,
      basis: 'cached',
      stalenessMs: 1_000,
      maxStalenessMs: 10 * MINUTE_MS,
      expiresInMs: 10 * MINUTE_MS - 1_000,
      expiresAtMs: clock.now().wallMs + 10 * MINUTE_MS - 1_000,
      etag: etagOf(answer),
    });
  });

  test('a key that policy does not have is 404 with the way out, and a malformed one 400', async () => {
    expect((await read('checkout.baner')).json()).toMatchObject({
      code: 'config_not_found',
      policyRevision: 3,
    });
    expect((await read('constructor')).statusCode).toBe(404);
    expect((await read('Checkout')).statusCode).toBe(400);
  });

  test('before the first policy there is none to read', async () => {
    sidecar.authority.active = null;
    expect((await read('search.size')).json()).toMatchObject({
      code: 'policy_absent',
      status: 503,
    });
    expect((await call('GET', '/v1/config')).statusCode).toBe(503);
  });

  test('the list has all of them, in order, with those that are withheld marked', async () => {
    confirmAgo(11 * MINUTE_MS);
    const list = (await call('GET', '/v1/config')).json<{
      items: { key: string; source: string }[];
    }>();
    expect(list.items.map(({ key, source }) => [key, source])).toEqual([
      ['checkout.banner', 'policy'],
      ['routing.weights', 'none'],
      ['search.size', 'last'],
      ['search.boost', 'default'],
    ]);
  });
});

describe('I5: past maxStaleness a value is exactly what onExpiry says', () => {
  test('I5: at the bound it still holds, a millisecond later it does not', async () => {
    confirmAgo(5 * MINUTE_MS);
    expect((await read('search.size')).json()).toMatchObject({ expired: false, expiresInMs: 0 });
    clock.jump(1);
    expect((await read('search.size')).json()).toMatchObject({
      value: 20,
      expired: true,
      source: 'last',
      reason: 'too_old',
      expiresAtMs: clock.now().wallMs - 1,
    });
  });

  test('I5: default serves the default, error serves nothing, and each says so', async () => {
    confirmAgo(11 * MINUTE_MS);
    expect((await read('search.boost')).json()).toMatchObject({
      value: 1,
      source: 'default',
      expired: true,
    });
    const withheld = await read('routing.weights');
    expect(withheld.statusCode).toBe(503);
    expect(withheld.json()).toMatchObject({
      code: 'config_expired',
      retryable: true,
      policyRevision: 3,
    });
    expect(withheld.body).not.toContain('90');
  });

  test('I5: a suspended machine or a jump of its clocks ends a value without any timer', async () => {
    const fresh = etagOf(await read('search.boost'));
    clock.jump(6 * MINUTE_MS);
    const answer = await read('search.boost', { 'if-none-match': fresh });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ expired: true, source: 'default' });
  });

  test('I5: where the age is not known, or authority was withdrawn, nothing is good', async () => {
    sidecar.authority.stalenessMs = () => null;
    expect((await read('checkout.banner')).json()).toMatchObject({
      value: '',
      reason: 'age_unknown',
      expiresAtMs: null,
    });
    confirmAgo(0);
    sidecar.authority.revocation = { reason: 'host_unknown' };
    expect((await read('checkout.banner')).json()).toMatchObject({
      value: '',
      reason: 'authority_revoked',
    });
  });
});

describe('ETag', () => {
  test('stays while the value holds, over a revision that leaves it as it is', async () => {
    const etag = etagOf(await read('search.size'));
    clock.jump(1_000);
    sidecar.authority.active = activePolicy(
      withConfig({ ...CONFIG, 'search.boost': { ...CONFIG['search.boost']!, value: 3 } }),
      4,
    );
    expect((await read('search.size', { 'if-none-match': etag })).statusCode).toBe(304);
    expect((await read('search.boost', { 'if-none-match': etag })).statusCode).toBe(200);
  });

  test.each([
    ['its value', { value: 21 }],
    ['how long it holds', { maxStaleness: '6m' }],
    ['what happens past that', { onExpiry: 'error' as const }],
  ])('changes with %s', async (_, change) => {
    const etag = etagOf(await read('search.size'));
    const config = { ...CONFIG, 'search.size': { ...CONFIG['search.size']!, ...change } };
    sidecar.authority.active = activePolicy(withConfig(config), 4);
    expect((await read('search.size', { 'if-none-match': etag })).statusCode).toBe(200);
  });

  test('changes when it expires, and back when authority is confirmed again', async () => {
    const good = etagOf(await read('search.size'));
    confirmAgo(6 * MINUTE_MS);
    const expired = await read('search.size', { 'if-none-match': good });
    expect(expired.statusCode).toBe(200);
    confirmAgo(0);
    expect((await read('search.size', { 'if-none-match': etagOf(expired) })).statusCode).toBe(200);
    expect((await read('search.size', { 'if-none-match': good })).statusCode).toBe(304);
  });
});

describe('long poll', () => {
  test('I5: an expiry wakes it by itself', async () => {
    confirmAgo(5 * MINUTE_MS - 3_000);
    const etag = etagOf(await read('search.boost'));
    const answer = read('search.boost', { 'if-none-match': etag }, '?wait=30s');
    await clock.advance(3_000);
    expect(await isAnswered(answer)).toBe(false);
    await clock.advance(1);
    expect((await answer).json()).toMatchObject({ value: 1, expired: true });
  });

  test('I5: a machine that was suspended meanwhile learns of the expiry within a second of waking', async () => {
    // A timer counts the time that the machine runs, the boot clock the rest as well.
    const running = new FakeClock();
    const suspending: Clock = {
      now: () => clock.now(),
      sleep: (durationMs, signal) => running.sleep(durationMs, signal),
      startTimer: (durationMs, fire) => running.startTimer(durationMs, fire),
    };
    const { authority } = sidecar;
    const values = new ConfigValues({
      policy: authority,
      clock: suspending,
      onRead: () => undefined,
    });
    const { etag } = values.read('search.boost');
    const { woken } = values.wait(30_000, new AbortController().signal);
    clock.jump(20 * MINUTE_MS);
    await running.advance(1_000);
    expect(await isAnswered(woken)).toBe(true);
    expect(values.tagOf('search.boost')).not.toBe(etag);
  });

  test('a revision wakes it where it changes the value, and only there', async () => {
    const etag = etagOf(await read('search.size'));
    const answer = read('search.size', { 'if-none-match': etag }, '?wait=30s');
    const boosted = { ...CONFIG, 'search.boost': { ...CONFIG['search.boost']!, value: 3 } };
    expect(await isAnswered(answer)).toBe(false);
    sidecar.authority.active = activePolicy(withConfig(boosted), 4);
    sidecar.authority.changed();
    expect(await isAnswered(answer)).toBe(false);
    const sized = { ...boosted, 'search.size': { ...CONFIG['search.size']!, value: 50 } };
    sidecar.authority.active = activePolicy(withConfig(sized), 5);
    sidecar.authority.changed();
    expect((await answer).json()).toMatchObject({ value: 50, policyRevision: 5 });
  });

  test('ends with 304 when its time is over, and waits for nothing without an ETag', async () => {
    const etag = etagOf(await read('search.size'));
    const answer = read('search.size', { 'if-none-match': etag }, '?wait=2s');
    expect(await isAnswered(answer)).toBe(false);
    await clock.advance(2_000);
    expect((await answer).statusCode).toBe(304);
    expect((await read('search.size', {}, '?wait=30s')).statusCode).toBe(200);
    expect((await read('search.size', {}, '?wait=31s')).json()).toMatchObject({
      code: 'invalid_request',
      errors: [{ path: 'query:wait' }],
    });
  });

  test('no timer is left when nobody waits', async () => {
    const idle = clock.pendingTimers;
    const etag = etagOf(await read('search.size'));
    const answer = read('search.size', { 'if-none-match': etag }, '?wait=2s');
    await clock.whenWaiting(idle + 2);
    await clock.advance(2_000);
    await answer;
    expect(clock.pendingTimers).toBe(idle);
  });
});

/** A reader of the stream over a real socket. */
class StreamReader {
  readonly lines: ConfigLine[] = [];
  readonly headers: Promise<string>;
  readonly ended: Promise<void>;
  readonly #socket: ReturnType<typeof createConnection>;
  #wake: () => void = () => undefined;
  text = '';

  constructor(port: number, query = '', headers: Record<string, string> = {}) {
    const socket = createConnection(port, '127.0.0.1');
    this.#socket = socket;
    const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(
      `GET /v1/config:watch${query} HTTP/1.1\r\nhost: 127.0.0.1\r\nholdfast-request: 1\r\nauthorization: Bearer ${APP_TOKEN}\r\n${extra.join('')}\r\n`,
    );
    let all = '';
    const { promise, resolve } = Promise.withResolvers<string>();
    this.headers = promise;
    this.ended = new Promise((done) => socket.once('close', () => done()));
    socket.setEncoding('utf8').on('data', (data) => {
      all += String(data);
      const at = all.indexOf('\r\n\r\n');
      if (at < 0) return;
      resolve(all.slice(0, at));
      this.text = all.slice(at);
      const lines = this.text.match(/\{"type".*\}$/gm) ?? [];
      for (const line of lines.slice(this.lines.length)) {
        this.lines.push(JSON.parse(line) as ConfigLine);
      }
      this.#wake();
    });
  }

  async line(index: number): Promise<ConfigLine> {
    for (;;) {
      const line = this.lines[index];
      if (line !== undefined) return line;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

describe('the change stream', () => {
  let port: number;
  const readers: StreamReader[] = [];
  const open = (query?: string, headers?: Record<string, string>): StreamReader => {
    const reader = new StreamReader(port, query, headers);
    readers.push(reader);
    return reader;
  };
  beforeEach(async () => {
    await sidecar.app.listen({ port: 0, host: '127.0.0.1' });
    ({ port } = sidecar.app.server.address() as AddressInfo);
  });
  afterEach(() => readers.splice(0).forEach((reader) => reader.close()));

  test('begins with a snapshot, then says what changes, and what is gone', async () => {
    const reader = open();
    expect(await reader.headers).toContain('application/x-ndjson');
    const first = await reader.line(0);
    expect(first).toMatchObject({ type: 'snapshot', policyRevision: 3 });
    expect(first.type === 'snapshot' && first.items.map(({ key }) => key)).toEqual(
      Object.keys(CONFIG),
    );
    const { 'search.boost': _, ...rest } = CONFIG;
    const config = { ...rest, 'search.size': { ...CONFIG['search.size']!, value: 50 } };
    sidecar.authority.active = activePolicy(withConfig(config), 4);
    sidecar.authority.changed();
    expect(await reader.line(1)).toMatchObject({
      type: 'change',
      policyRevision: 4,
      items: [{ key: 'search.size', value: 50 }],
      removed: ['search.boost'],
    });
  });

  test('I5: an expiry is a change, and so is its end', async () => {
    confirmAgo(5 * MINUTE_MS - 1_000);
    const reader = open('?key=search.size');
    await reader.line(0);
    await clock.advance(1_001);
    expect(await reader.line(1)).toMatchObject({
      type: 'change',
      items: [{ expired: true, source: 'last' }],
    });
    confirmAgo(0);
    expect(await reader.line(2)).toMatchObject({ type: 'change', items: [{ expired: false }] });
  });

  test('a heartbeat comes while nothing changes', async () => {
    const reader = open();
    const { etag } = await reader.line(0);
    await clock.advance(HEARTBEAT_MS);
    expect(await reader.line(1)).toMatchObject({
      type: 'heartbeat',
      etag,
      stalenessMs: 1_000 + HEARTBEAT_MS,
    });
  });

  test('since goes on where the last line was, and gives a snapshot where that is past', async () => {
    const first = open();
    const { etag } = await first.line(0);
    first.close();
    const again = open(`?since=${encodeURIComponent(etag)}`);
    expect(await again.line(0)).toMatchObject({ type: 'heartbeat', etag });
    sidecar.authority.active = activePolicy(withConfig({}), 4);
    sidecar.authority.changed();
    expect(await again.line(1)).toMatchObject({ type: 'change', removed: Object.keys(CONFIG) });
    const later = open(`?since=${encodeURIComponent(etag)}`);
    expect(await later.line(0)).toMatchObject({ type: 'snapshot', items: [] });
  });

  test('server-sent events where Accept asks for them, resumed by Last-Event-ID', async () => {
    const reader = open('', { accept: 'text/event-stream' });
    expect(await reader.headers).toContain('text/event-stream');
    const { etag } = await first(reader);
    expect(reader.text).toContain(`event: snapshot\nid: ${etag}\ndata: {"type"`);
    const again = open('', { accept: 'text/event-stream', 'last-event-id': etag });
    await again.headers;
    await settled(again);
    expect(again.text).toContain('event: heartbeat');
  });

  test('streams are bounded, and one more is told so', async () => {
    const all = Array.from({ length: 128 }, () => open('?key=search.size'));
    await Promise.all(all.map((reader) => reader.line(0)));
    const refused = await call('GET', '/v1/config:watch');
    expect(refused.json()).toMatchObject({ code: 'overloaded', retry_after_ms: 5_000 });
  });

  test('a sidecar that stops ends its streams with a line, and its long polls with an answer', async () => {
    const reader = open();
    await reader.line(0);
    await sidecar.app.close();
    expect(await reader.line(1)).toMatchObject({ type: 'end', reason: 'shutting_down' });
    await reader.ended;
  });

  const first = (reader: StreamReader): Promise<ConfigLine> => sseLine(reader);
  async function sseLine(reader: StreamReader): Promise<ConfigLine> {
    await settled(reader);
    return JSON.parse(/^data: (.*)$/m.exec(reader.text)?.[1] ?? '{}') as ConfigLine;
  }
  async function settled(reader: StreamReader): Promise<void> {
    while (!reader.text.includes('\ndata: ')) await new Promise((resolve) => setImmediate(resolve));
  }
});

describe('a slow reader', () => {
  test('is held one line, then told why, and cut off', async () => {
    const authority = new FakeAuthority();
    authority.active = activePolicy(withConfig(CONFIG), 1);
    const values = new ConfigValues({ policy: authority, clock, onRead: () => undefined });
    const out = new PassThrough({ highWaterMark: 64 });
    const cut: string[] = [];
    const { signal } = new AbortController();
    const options = {
      values,
      clock,
      out,
      key: null,
      since: null,
      format: 'ndjson',
      signal,
    } as const;
    const stream = streamConfig({ ...options, onCut: (reason) => cut.push(reason) });
    await clock.whenWaiting();
    const heldBytes = out.readableLength + out.writableLength;
    for (const value of [1, 2, 3]) {
      const config = { ...CONFIG, 'search.size': { ...CONFIG['search.size']!, value } };
      authority.active = activePolicy(withConfig(config), value + 1);
      authority.changed();
      await clock.advance(1_000);
    }
    expect(out.readableLength + out.writableLength).toBe(heldBytes);
    await clock.advance(SLOW_READER_MS);
    expect(cut).toEqual(['slow_reader']);
    // One that reads on after all still finds out.
    const chunks: string[] = [];
    out.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
    await stream;
    const lines = chunks
      .join('')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as ConfigLine);
    expect(lines.map(({ type }) => type)).toEqual(['snapshot', 'end']);
    expect(lines[1]).toMatchObject({ reason: 'slow_reader', policyRevision: 4 });
    expect(values.waiting).toBe(0);
  });

  test('that never reads again loses its connection', async () => {
    const authority = new FakeAuthority();
    authority.active = activePolicy(withConfig(CONFIG), 1);
    const values = new ConfigValues({ policy: authority, clock, onRead: () => undefined });
    const out = new PassThrough({ highWaterMark: 64 });
    out.on('error', () => undefined);
    const { signal } = new AbortController();
    const options = {
      values,
      clock,
      out,
      key: null,
      since: null,
      format: 'ndjson',
      signal,
    } as const;
    const stream = streamConfig({ ...options, onCut: () => undefined });
    await clock.whenWaiting();
    await clock.advance(SLOW_READER_MS);
    await clock.advance(5_000);
    await stream;
    expect(out.destroyed).toBe(true);
  });
});
