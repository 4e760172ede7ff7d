/**
 * `holdfast mcp` as it is run, over stdio and over HTTP: the SDK's own client, servers that others
 * wrote, and two real daemons.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { claimPort } from '../../control/cli/dev/free-port.ts';
import type { SidecarClient } from '../../shared/client/index.ts';
import { startDevDaemons, type DevDaemons } from '../fakes/dev-daemons.ts';
import { McpSession, Served, type Told } from '../fakes/mcp-session.ts';
import { REPOSITORY_ROOT } from '../tidy/source-tree.ts';

const SERVERS = join(REPOSITORY_ROOT, 'node_modules/@modelcontextprotocol');
const EVERYTHING = join(SERVERS, 'server-everything/dist/index.js');

const anyone = { permit: [{ expression: 'true' }] };
const once = { effects: { call: { idempotent: false } }, onWorkerLoss: 'unknown' };
const POLICY = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:desk': { roles: ['agent'] }, 'user:admin': { roles: ['security'] } },
  rules: [
    {
      name: 'write',
      actions: ['mcp.files.write_file'],
      permit: [
        { expression: '!attributes.path.endsWith(".key")', message: 'keys are not written' },
      ],
      ...once,
    },
    { name: 'read', actions: ['files.read'], ...anyone, ...once },
    { name: 'stat', actions: ['mcp.files.get_file_info'], ...anyone, ...once, freshness: 'fresh' },
    {
      name: 'move',
      actions: ['mcp.files.move_file'],
      ...anyone,
      ...once,
      approval: { required: 1, from: 'role:security', ttl: '30m', showPayload: true },
    },
    { name: 'any', actions: ['mcp.any.*'], ...anyone, ...once, heartbeatTimeout: '1s' },
  ],
};

/** Real processes, on a machine that is shared. */
vi.setConfig({ testTimeout: 120_000 });

let daemons: DevDaemons;
let sidecar: SidecarClient;
let directory: string;
let files: McpSession;
let everything: McpSession;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mcp-'));
  const map = join(directory, 'map.yaml');
  writeFileSync(
    map,
    `tools: { 'read_*': { action: files.read, resource: '{path}', attributes: [path], each: call } }`,
  );
  daemons = await startDevDaemons({ HOLDFAST_SYNC_INTERVAL: '200ms' }, POLICY);
  sidecar = daemons.supervisor.openSidecarClient();
  files = await McpSession.open(daemons.supervisor, {
    command: [process.execPath, join(SERVERS, 'server-filesystem/dist/index.js'), directory],
    flags: ['--server', 'files', '--scope', 'talk-1', '--map', map],
  });
  everything = await openEverything();
}, 120_000);
afterAll(async () => {
  await files.close();
  await everything.close();
  await sidecar.close();
  await daemons.close();
  rmSync(directory, { recursive: true });
});

const openEverything = (): Promise<McpSession> =>
  McpSession.open(daemons.supervisor, {
    command: [process.execPath, EVERYTHING, 'stdio'],
    flags: ['--server', 'any', '--scope', 'talk-1'],
  });
const inDirectory = (name: string): string => join(directory, name);

test('tools are listed with what they need, and a call is made once within its scope (I2, I9)', async () => {
  const { tools } = await files.client.listTools();
  const needs = Object.fromEntries(
    tools.map(({ name, _meta }) => [name, _meta?.['holdfast/needs']]),
  );
  expect(needs).toMatchObject({
    move_file: { outcome: 'awaiting_approval', approval: { required: 1, role: 'security' } },
    get_file_info: { outcome: 'admitted', freshness: 'fresh' },
    read_text_file: { outcome: 'admitted', rule: 'read' },
    write_file: { outcome: 'conditional', code: 'rule_error' },
    create_directory: { outcome: 'conditional', code: 'no_rule' },
  });
  expect(tools.find(({ name }) => name === 'holdfast_result')).toBeDefined();

  const note = { path: inDirectory('note.txt'), content: 'first' };
  const first = await files.call('write_file', note);
  expect(first).toMatchObject({
    isError: false,
    outcome: { status: 'succeeded', replayed: false },
  });
  rmSync(note.path);
  // In another order of its arguments it is the same.
  const again = await files.call('write_file', { content: note.content, path: note.path });
  expect(again).toMatchObject({
    isError: false,
    outcome: { operationId: first.outcome.operationId, replayed: true },
  });
  expect(again.text).toContain('was not called again');
  expect(existsSync(note.path)).toBe(false);
  const elsewhere = await files.call('write_file', note, { scope: 'talk-2' });
  expect(elsewhere.outcome).toMatchObject({ status: 'succeeded', replayed: false });
  expect(readFileSync(note.path, 'utf8')).toBe('first');
  const record = await sidecar.operation(elsewhere.outcome.operationId!);
  expect(record).toMatchObject({
    state: 'succeeded',
    action: 'mcp.files.write_file',
    attributes: note,
    effects: [{ name: 'call', state: 'succeeded' }],
  });
});

test('what is refused, does not fit, or is answered with an error is told as that', async () => {
  const key = { path: inDirectory('a.key'), content: 'x' };
  expect(await files.call('write_file', key)).toMatchObject({
    isError: true,
    outcome: { status: 'refused', code: 'denied' },
    text: expect.stringContaining('keys are not written') as string,
  });
  const none = await files.call('create_directory', { path: inDirectory('d') });
  expect(none.outcome).toMatchObject({ status: 'refused', code: 'no_rule' });
  expect(existsSync(inDirectory('d'))).toBe(false);
  const large = { path: inDirectory('large'), content: 'x'.repeat(40_000) };
  expect(await files.call('write_file', large)).toMatchObject({
    outcome: { status: 'invalid', operationId: null },
    text: expect.stringContaining('32768') as string,
  });
  const path = inDirectory('absent.txt');
  const absent = await files.call('read_text_file', { path });
  expect(absent).toMatchObject({ isError: true, outcome: { status: 'tool_error' } });
  expect(await sidecar.operation(absent.outcome.operationId!)).toMatchObject({
    state: 'failed',
    action: 'files.read',
    resource: { id: path },
  });
  // `each: call`: the file is read anew, and an answer past what is kept comes through.
  writeFileSync(path, 'y'.repeat(50_000));
  const present = await files.call('read_text_file', { path });
  expect(present).toMatchObject({ isError: false, outcome: { replayed: false } });
  expect(present.text).toHaveLength(50_000);
  const badId = await files.call('holdfast_result', { operationId: 'op_none' });
  expect(badId.outcome).toMatchObject({ status: 'refused', code: 'operation_not_found' });
});

/** As a person does with `holdfast approval approve` and `deny`. */
async function decide(asked: Told, verb: 'approve' | 'deny', reason: string): Promise<void> {
  const requestId = asked.outcome.approvalRequestId!;
  const control = daemons.supervisor.openControlClient();
  const fetch = (): Promise<{ payloadDigest: string } | null> =>
    control.approvals.fetch(requestId).catch(() => null);
  await expect.poll(fetch, { timeout: 20_000 }).not.toBeNull();
  const digest = (await fetch())!.payloadDigest;
  await control.approvals.decide(requestId, verb, { reason, digest });
  await control.close();
  const operationId = asked.outcome.operationId!;
  await sidecar.waitForOperation(operationId, { until: 'decided', waitMs: 20_000 });
}

test('a call that needs an approval is pending, then done once, whoever asks for it', async () => {
  writeFileSync(inDirectory('from.txt'), 'moved');
  const move = { source: inDirectory('from.txt'), destination: inDirectory('to.txt') };
  const asked = await files.call('move_file', move);
  expect(asked).toMatchObject({ isError: true, outcome: { status: 'pending_approval' } });
  const { operationId } = asked.outcome;
  const poll = (): Promise<Told> => files.call('holdfast_result', { operationId });
  expect((await poll()).outcome).toMatchObject({ status: 'pending_approval', operationId });
  await decide(asked, 'approve', 'ok');
  expect(await poll()).toMatchObject({ isError: false, outcome: { status: 'succeeded' } });
  expect(readFileSync(move.destination, 'utf8')).toBe('moved');
  expect((await files.call('move_file', move)).outcome).toMatchObject({
    operationId,
    replayed: true,
  });
});

test('a call that is denied is told with the reason, and is not made', async () => {
  const move = { source: inDirectory('to.txt'), destination: inDirectory('elsewhere.txt') };
  const asked = await files.call('move_file', move);
  await decide(asked, 'deny', 'it stays where it is');
  const told = await files.call('move_file', move);
  expect(told).toMatchObject({ isError: true, outcome: { status: 'cancelled' } });
  expect(told.text).toContain('it stays where it is');
  expect(existsSync(move.destination)).toBe(false);
});

test('an answer too large to be kept is told in full once, and as that after', async () => {
  const echo = ['echo', { message: 'z'.repeat(30_000) }] as const;
  const first = await everything.call(...echo);
  expect(first).toMatchObject({ isError: false, outcome: { status: 'succeeded' } });
  const again = await everything.call(...echo);
  const { operationId } = first.outcome;
  expect(again).toMatchObject({
    isError: true,
    outcome: { status: 'succeeded', operationId, replayed: true },
    text: expect.stringContaining('too many to be kept') as string,
  });
});

const LONG = ['trigger-long-running-operation', { duration: 6, steps: 60 }] as const;

test('I9: kill -9 of the gateway in the middle of a call leaves it unknown, and told as that', async () => {
  await new Promise<void>((resolve) => {
    everything.call(...LONG, { onProgress: resolve }).catch(() => undefined);
  });
  process.kill(everything.pid!, 'SIGKILL');
  everything = await openEverything();
  await expect
    .poll(async () => (await everything.call(...LONG)).outcome, { timeout: 60_000 })
    .toMatchObject({ status: 'unknown', replayed: true });
  const told = await everything.call(...LONG);
  expect(told.text).toContain('may or may not have done it');
  expect(await sidecar.operation(told.outcome.operationId!)).toMatchObject({
    state: 'unknown',
    attempt: 1,
  });
});

test('I9: a server that dies in the middle of a call leaves it unknown, and is started again', async () => {
  const scope = 'server-dies';
  const told = await everything.call(...LONG, {
    scope,
    onProgress: () => void process.kill(everything.upstreamPid(), 'SIGKILL'),
  });
  expect(told).toMatchObject({ isError: true, outcome: { status: 'unknown' } });
  const again = await everything.call(...LONG, { scope });
  expect(again.outcome).toMatchObject({ status: 'unknown', replayed: true });
  const sum = await everything.call('get-sum', { a: 2, b: 3 });
  expect(sum).toMatchObject({ isError: false, outcome: { status: 'succeeded' } });
});

const SHORT = ['trigger-long-running-operation', { duration: 0.5, steps: 5 }] as const;

describe('over HTTP', () => {
  const token = 'a-token-of-the-tests';
  let tokenFile: string;
  let upstream: Served;
  let gateway: Served;
  let client: McpSession;
  const openGateway = async (): Promise<void> => {
    // Far away: that the server is gone is found otherwise.
    const flags = ['--server', 'any', '--client-token-file', tokenFile, '--call-timeout', '10m'];
    gateway = await Served.gateway(daemons.supervisor, [...flags, '--upstream-url', upstream.url]);
    client = await McpSession.over(gateway.url, token);
  };
  beforeAll(async () => {
    tokenFile = inDirectory('client.token');
    writeFileSync(tokenFile, token, { mode: 0o600 });
    const port = await claimPort(0, { flag: '' });
    upstream = await Served.everything(EVERYTHING, port);
    await openGateway();
  });
  afterAll(async () => {
    await client.close();
    await gateway.end('SIGTERM');
    await upstream.end('SIGKILL');
  });

  test('sessions are apart, a scope brings them together, and strangers stay outside', async () => {
    const other = await McpSession.over(gateway.url, token);
    const echo = ['echo', { message: 'hello' }] as const;
    const [one, two] = await Promise.all([client.call(...echo), other.call(...echo)]);
    expect(one).toMatchObject({ isError: false, outcome: { status: 'succeeded' } });
    expect(two.outcome.operationId).not.toBe(one.outcome.operationId);
    const scope = 'talk-9';
    const first = await client.call(...echo, { scope });
    const second = await other.call(...echo, { scope });
    expect(second.outcome).toMatchObject({ ...first.outcome, replayed: true });
    // Two at once are one as well.
    const both = await Promise.all(
      [client, other].map((session) => session.call(...echo, { scope: 'talk-10' })),
    );
    const [operationId] = new Set(both.map(({ outcome }) => outcome.operationId));
    expect(both.map(({ outcome }) => outcome)).toMatchObject([{ operationId }, { operationId }]);
    expect(await sidecar.operation(operationId!)).toMatchObject({ state: 'succeeded', attempt: 1 });

    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    };
    const post = (more: Record<string, string>, body = '{}'): Promise<number> =>
      fetch(gateway.url, { method: 'POST', headers: { ...headers, ...more }, body }).then(
        ({ status }) => status,
      );
    expect(await post({ authorization: 'Bearer another-token-of-16' })).toBe(401);
    expect(await post({ origin: 'http://127.0.0.1' })).toBe(403);
    expect(await post({ 'mcp-session-id': 'none' })).toBe(404);
    expect(await post({}, '{"jsonrpc": ')).toBe(400);
    expect(await post({}, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')).toBe(400);
    expect(await post({}, `"${'x'.repeat(5 * 1024 * 1024)}"`)).toBe(413);
    const malformed = other.client.callTool({ name: 'echo', arguments: [1] as never });
    await expect(malformed).rejects.toThrow('expected record');
    expect((await other.call('echo', { message: 5 })).outcome.status).toBe('tool_error');
    const ended = await other.endSession();
    expect(await post({ 'mcp-session-id': ended })).toBe(404);
    expect((await client.call(...echo)).outcome.replayed).toBe(true);
  });

  test('asked to stop, it first has on record what is under way', async () => {
    const scope = 'stop';
    const onProgress = (): void => void gateway.end('SIGTERM');
    // Its answer comes, or is lost on a connection that ends: the record has it in either case.
    await client.call(...SHORT, { scope, onProgress }).catch(() => null);
    expect(await gateway.end('SIGTERM')).toBe(0);
    await openGateway();
    expect(await client.call(...SHORT, { scope })).toMatchObject({
      isError: false,
      outcome: { status: 'succeeded', replayed: true },
    });
  });

  test('I9: a server that is gone in the middle of a call, and before it', async () => {
    const scope = 'gone';
    const onProgress = (): void => void upstream.end('SIGKILL');
    const told = await client.call(...LONG, { scope, onProgress });
    expect(told).toMatchObject({ isError: true, outcome: { status: 'unknown' } });
    await upstream.end('SIGKILL');
    const sum = ['get-sum', { a: 1, b: 1 }] as const;
    const early = await client.call(...sum, { scope });
    expect(early).toMatchObject({ isError: true, outcome: { status: 'not_begun' } });
    const { operationId } = early.outcome;
    expect(await sidecar.operation(operationId!)).toMatchObject({ state: 'accepted', effects: [] });
    upstream = await Served.everything(EVERYTHING, Number(new URL(upstream.url).port));
    expect(await client.call(...sum, { scope })).toMatchObject({
      isError: false,
      outcome: { operationId, status: 'succeeded', replayed: false },
    });
    expect((await client.call(...LONG, { scope })).outcome).toMatchObject({
      status: 'unknown',
      replayed: true,
    });
  });
});

test('control away, then the sidecar away: each call says what it did and did not', async () => {
  await daemons.supervisor.kill('control');
  const write = { path: inDirectory('away.txt'), content: '1' };
  expect((await files.call('write_file', write)).outcome.status).toBe('succeeded');
  const fresh = await files.call('get_file_info', { path: write.path });
  expect(fresh.outcome).toMatchObject({ status: 'refused', code: 'control_unreachable' });
  expect(fresh.text).toContain('not called');
  await daemons.supervisor.kill('sidecar');
  const later = { path: inDirectory('later.txt'), content: '2' };
  const silent = await files.call('write_file', later);
  expect(silent.outcome).toMatchObject({ status: 'unreachable', operationId: null });
  expect(existsSync(later.path)).toBe(false);
  await daemons.supervisor.start('control');
  await daemons.supervisor.start('sidecar');
  expect((await files.call('write_file', later)).outcome.status).toBe('succeeded');
  expect((await files.call('write_file', write)).outcome).toMatchObject({ replayed: true });
});

test('I9: the sidecar is gone when the tool answers: the answer is told, and that it may not be on record', async () => {
  const scope = 'unrecorded';
  const onProgress = (): void => void daemons.supervisor.kill('sidecar');
  const told = await everything.call(...SHORT, { scope, onProgress });
  expect(told).toMatchObject({ isError: true, outcome: { status: 'unknown', replayed: false } });
  expect(told.text).toContain('Long running operation completed');
  expect(told.text).toContain('not known');
  await daemons.supervisor.kill('sidecar');
  await daemons.supervisor.start('sidecar');
  await expect
    .poll(async () => (await everything.call(...SHORT, { scope })).outcome, { timeout: 60_000 })
    .toMatchObject({ operationId: told.outcome.operationId, status: 'unknown', replayed: true });
});
