/**
 * `holdfast mcp` over stdio as a host runs it: the SDK's own client, servers that others wrote, and
 * two real daemons.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { SidecarClient } from '../../shared/client/index.ts';
import { startDevDaemons, type DevDaemons } from '../fakes/dev-daemons.ts';
import { McpSession } from '../fakes/mcp-session.ts';
import { REPOSITORY_ROOT } from '../tidy/source-tree.ts';

const SERVERS = join(REPOSITORY_ROOT, 'node_modules/@modelcontextprotocol');
const EVERYTHING = [process.execPath, join(SERVERS, 'server-everything/dist/index.js'), 'stdio'];

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
    command: EVERYTHING,
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

test('a call that needs an approval is pending, then done once, whoever asks for it', async () => {
  writeFileSync(inDirectory('from.txt'), 'moved');
  const move = { source: inDirectory('from.txt'), destination: inDirectory('to.txt') };
  const asked = await files.call('move_file', move);
  expect(asked).toMatchObject({ isError: true, outcome: { status: 'pending_approval' } });
  const { operationId, approvalRequestId } = asked.outcome;
  const poll = (): Promise<Awaited<ReturnType<typeof files.call>>> =>
    files.call('holdfast_result', { operationId });
  expect((await poll()).outcome).toMatchObject({ status: 'pending_approval', operationId });
  const control = daemons.supervisor.openControlClient();
  const { payloadDigest } = await expect
    .poll(() => control.approvals.fetch(approvalRequestId!).catch(() => null))
    .not.toBeNull()
    .then(() => control.approvals.fetch(approvalRequestId!));
  await control.approvals.decide(approvalRequestId!, 'approve', {
    reason: 'ok',
    digest: payloadDigest,
  });
  await control.close();
  await sidecar.waitForOperation(operationId!, { until: 'decided', waitMs: 20_000 });
  expect(await poll()).toMatchObject({ isError: false, outcome: { status: 'succeeded' } });
  expect(readFileSync(move.destination, 'utf8')).toBe('moved');
  expect((await files.call('move_file', move)).outcome).toMatchObject({
    operationId,
    replayed: true,
  });
});

const LONG = ['trigger-long-running-operation', { duration: 6, steps: 60 }] as const;

test('I9: kill -9 of the gateway in the middle of a call leaves it unknown, and told as that', async () => {
  await new Promise<void>((resolve) => {
    everything.call(...LONG, { onProgress: resolve }).catch(() => undefined);
  });
  process.kill(everything.pid, 'SIGKILL');
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
