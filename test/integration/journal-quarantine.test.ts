/** A damaged journal as callers, probes and operators meet it: over real HTTP, and at the command. */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../shared/platform/clock.ts';
import { journalFiles, type JournalFiles } from '../../dataplane/journal/journal-files.ts';
import { runJournalTool } from '../../dataplane/journal/journal-tool.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { copyJournal, crashImage, readAll, work, type Told } from '../fakes/journal-image.ts';

const MAIN = join(import.meta.dirname, '../../dataplane/main.ts');
const TOKEN = 'a-token-of-at-least-16';
const clock = new SystemClock();

let root: string;
let image: JournalFiles;
let told: Told;
let files: JournalFiles;
let dataDir: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'journal-quarantine-'));
  ({ image, told } = await crashImage(root));
});
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => {
  dataDir = mkdtempSync(join(root, 'data-'));
  files = journalFiles(join(dataDir, 'journal'));
  copyJournal(image, files);
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    const ended = new Promise((resolve) => child.once('close', resolve));
    if (child.exitCode === null && child.kill('SIGTERM')) await ended;
  }
});

type Ended = { readonly code: number | null; readonly out: string; readonly err: string };

/** Whatever it says and with which code it ends. */
async function tool(...args: string[]): Promise<Ended> {
  const said = { out: '', err: '' };
  const into = (name: 'out' | 'err'): Writable =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        said[name] += chunk.toString();
        done();
      },
    });
  const ports = { clock, out: into('out'), err: into('err') };
  return { code: await runJournalTool([...args, '--data-dir', dataDir], ports), ...said };
}

type Answer = { readonly status: number; readonly body: Record<string, unknown> };

/** The real sidecar over `dataDir`, and calls to it as an operator's app. */
async function startSidecar(): Promise<
  (method: string, path: string, body?: unknown) => Promise<Answer>
> {
  const appsFile = join(dataDir, 'apps.yaml');
  const app = `{name: demo, token: ${TOKEN}, principals: ['*'], operator: true}`;
  writeFileSync(appsFile, `apps: [${app}]\n`, { mode: 0o600 });
  const flags = ['--data-dir', dataDir, '--listen', '127.0.0.1:0', '--apps-file', appsFile];
  const child = spawn(process.execPath, [MAIN, ...flags, '--host-name', 'h1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const address = await new Promise<string>((resolve, reject) => {
    child.once('close', (code) => reject(new Error(`it ended with ${code}`)));
    createInterface(child.stdout).on('line', (line) => {
      const entry = JSON.parse(line) as Record<string, unknown>;
      if (entry['msg'] === 'listening') resolve(String(entry['address']));
    });
  });
  return async (method, path, body) => {
    const response = await fetch(`${address}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'holdfast-request': '1',
        'idempotency-key': 'k',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
}

const CHANGES: readonly (readonly [string, string, unknown])[] = [
  ['POST', '/v1/operations', { principal: 'agent:billing', action: 'notifications.send' }],
  ['POST', '/v1/operations/op_k1/cancel', {}],
  [
    'POST',
    '/v1/operations/op_k1/resolve',
    { outcome: 'failed', provenance: 'asserted', reason: 'x' },
  ],
  ['POST', '/v1/operations/op_k1/attempts', {}],
  ['POST', '/v1/operations/op_k1/attempts/1/heartbeat', {}],
  ['PUT', '/v1/operations/op_k1/attempts/1/outcome', { outcome: 'succeeded' }],
  ['POST', '/v1/operations/op_k1/attempts/1/effects/send', {}],
  ['PUT', '/v1/operations/op_k1/attempts/1/effects/send', { outcome: 'succeeded' }],
  ['POST', '/v1/fences/orders%2F1:check', { epoch: 99 }],
  ['POST', '/v1/leases/orders%2F1:acquire', undefined],
];

const READS = [
  '/v1/operations',
  '/v1/operations/op_k1',
  '/v1/operations/op_k1/explanation',
  '/v1/refusals',
  '/v1/outages',
  '/v1/recovery',
];
const ALWAYS = ['/v1/status', '/v1/health', '/v1/outage-budget', '/v1/leases'];

describe('a sidecar over a journal that lost its end', () => {
  test('lives, is not ready, takes nothing, shows what is there, and leaves the files alone', async () => {
    rmSync(files.wal);
    const before = readFileSync(files.database);
    const call = await startSidecar();
    expect((await call('GET', '/livez')).status).toBe(200);
    expect((await call('GET', '/startupz')).status).toBe(200);
    const ready = await call('GET', '/readyz?verbose');
    expect(ready).toMatchObject({ status: 503, body: { status: 'failed' } });
    expect(ready.body['checks']).toContainEqual({
      name: 'journal',
      ok: false,
      detail: expect.stringMatching(
        /^quarantined: .*the journal ends at entry \d+ and journal\.head is at/,
      ),
    });
    expect((await call('GET', '/v1/health')).body).toMatchObject({
      dataPlane: { verdict: 'down', parts: { journal: { state: 'failed' } } },
    });
    for (const [method, path, body] of CHANGES) {
      const { status, body: problem } = await call(method, path, body);
      expect([path, status, problem['code'], problem['retryable']]).toEqual([
        path,
        503,
        'journal_quarantined',
        false,
      ]);
      expect(problem['detail']).toContain('accept-loss');
    }
    for (const path of [...READS, ...ALWAYS])
      expect([path, (await call('GET', path)).status]).toEqual([path, 200]);
    const { items } = (await call('GET', '/v1/operations?limit=500')).body as { items: unknown[] };
    expect(items.length).toBeGreaterThan(5);
    expect((await call('GET', '/v1/nothing')).status).toBe(404);
    expect(await tool('accept-loss', '--yes')).toMatchObject({
      code: 1,
      err: expect.stringContaining('another process uses'),
    });
    expect(readFileSync(files.database)).toEqual(before);
    expect(existsSync(files.identity)).toBe(false);
  });
});

describe('a sidecar over a journal of which nothing can be read', () => {
  test('answers every read of it with the same code', async () => {
    writeFileSync(files.database, 'not a database, '.repeat(500));
    const call = await startSidecar();
    expect((await call('GET', '/livez')).status).toBe(200);
    expect((await call('GET', '/readyz')).status).toBe(503);
    for (const path of READS)
      expect(await call('GET', path)).toMatchObject({
        status: 503,
        body: { code: 'journal_quarantined' },
      });
    for (const path of ALWAYS)
      expect([path, (await call('GET', path)).status]).toEqual([path, 200]);
    expect(readFileSync(files.database, 'utf8')).toMatch(/^not a database/);
  });
});

describe('the tool', () => {
  test('verify: 0 for a sound journal, 1 for one that is not, in words and in JSON', async () => {
    expect(await tool('verify')).toMatchObject({
      code: 0,
      out: expect.stringContaining('is sound'),
    });
    rmSync(files.wal);
    expect(await tool('verify')).toMatchObject({
      code: 1,
      out: expect.stringContaining('damaged: lost'),
    });
    const { code, out } = await tool('verify', '--json');
    expect([code, JSON.parse(out)]).toEqual([1, { kind: 'lost', evidence: [expect.any(String)] }]);
  });

  test('as a command of the sidecar: its exit code, and its words on standard output', async () => {
    rmSync(files.wal);
    const args = [MAIN, 'journal', 'verify', '--data-dir', dataDir];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect([code, out]).toEqual([1, expect.stringContaining('damaged: lost')]);
  });

  test('export: every entry, one a line', async () => {
    const { code, out } = await tool('export');
    expect(code).toBe(0);
    const lines = out.split('\n').slice(0, -1);
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(told.events);
  });

  test('wrong arguments end with 2 and the usage', async () => {
    for (const args of [[], ['repair'], ['verify', '--fast'], ['backup']])
      expect(await tool(...args)).toMatchObject({
        code: 2,
        err: expect.stringContaining('usage:'),
      });
  });

  test('accept-loss: shows the evidence, does nothing without --yes, and moves all of it aside', async () => {
    rmSync(files.wal);
    writeFileSync(files.identity, '{}');
    const asked = await tool('accept-loss');
    expect(asked).toMatchObject({ code: 1, out: expect.stringContaining('damaged: lost') });
    expect(asked.out).toContain('--yes');
    expect(existsSync(files.database)).toBe(true);
    const done = await tool('accept-loss', '--yes');
    expect(done).toMatchObject({ code: 0, out: expect.stringContaining('join-token') });
    const [aside = ''] = readdirSync(dataDir).filter((name) => name.startsWith('quarantine-'));
    expect(readdirSync(join(dataDir, aside))).toEqual(
      expect.arrayContaining(['identity.json', 'journal.db', 'journal.head']),
    );
    const anew = await openJournal(files.directory, clock);
    expect([anew.quarantine, anew.head().seq]).toEqual([null, 0]);
    await anew.close();
    expect(await tool('accept-loss', '--yes')).toMatchObject({
      code: 0,
      out: expect.stringContaining('sound'),
    });
  });

  test('accept-loss --keep: what is whole as far as it goes stays in service, under a new identity', async () => {
    rmSync(files.wal);
    writeFileSync(files.identity, '{}');
    expect(await tool('accept-loss', '--keep', '--yes')).toMatchObject({ code: 0 });
    const kept = await openJournal(files.directory, clock);
    expect(kept.quarantine).toBeNull();
    expect(kept.head().seq).toBeGreaterThan(50);
    await work(kept, 500, 1);
    await kept.close();
    expect(existsSync(files.identity)).toBe(false);
    expect(await tool('verify')).toMatchObject({ code: 0 });
  });

  test('accept-loss: of a journal of which there is nothing but the identity', async () => {
    rmSync(files.directory, { recursive: true });
    writeFileSync(files.identity, '{}');
    expect(await tool('accept-loss', '--yes')).toMatchObject({
      code: 0,
      out: expect.stringContaining('damaged: missing'),
    });
    expect([existsSync(files.identity), (await tool('verify')).code]).toEqual([false, 0]);
  });

  test('accept-loss --keep keeps nothing that is broken', async () => {
    writeFileSync(files.database, 'not a database, '.repeat(500));
    expect(await tool('accept-loss', '--keep', '--yes')).toMatchObject({
      code: 1,
      err: expect.stringContaining('cannot be kept'),
    });
    expect(existsSync(files.database)).toBe(true);
  });
});

describe('backup and restore', () => {
  test('a backup under load proves itself, and comes back quarantined until its loss is accepted', async () => {
    const live = await openJournal(files.directory, clock);
    const loading = work(live, 100, 40);
    const copy = join(dataDir, 'copy.db');
    expect(await tool('backup', '--to', copy)).toMatchObject({ code: 0 });
    await loading;
    await live.close();
    expect(await tool('backup', '--to', copy)).toMatchObject({
      code: 1,
      err: expect.stringContaining('exists'),
    });
    const { head } = JSON.parse(readFileSync(`${copy}.manifest.json`, 'utf8')) as {
      head: { seq: number };
    };
    expect(head.seq).toBeGreaterThanOrEqual(told.events.length);

    expect(await tool('restore', '--from', copy)).toMatchObject({
      code: 1,
      err: expect.stringContaining('not overwritten'),
    });
    rmSync(files.directory, { recursive: true });
    expect(await tool('restore', '--from', copy)).toMatchObject({
      code: 0,
      out: expect.stringContaining('quarantined'),
    });
    const looked = await openJournal(files.directory, clock);
    expect(looked.quarantine).toMatch(/\(lost\): this journal was put back from a backup of \d{4}/);
    expect(looked.head().seq).toBe(head.seq);
    await looked.close();
    expect(await tool('accept-loss', '--keep', '--yes')).toMatchObject({ code: 0 });
    const served = await openJournal(files.directory, clock);
    expect([served.quarantine, served.head().seq]).toEqual([null, head.seq]);
    await served.close();
    expect(readAll(files).events.slice(0, told.events.length)).toEqual(told.events);
  });

  test('a restored journal that is behind its head file says so; --accept-loss takes it into service', async () => {
    const copy = join(dataDir, 'copy.db');
    await tool('backup', '--to', copy);
    const live = await openJournal(files.directory, clock);
    await work(live, 100, 2);
    await live.close();
    const { head } = files;
    copyFileSync(head, join(dataDir, 'head.kept'));
    for (const name of readdirSync(files.directory)) rmSync(join(files.directory, name));
    copyFileSync(join(dataDir, 'head.kept'), head);
    await tool('restore', '--from', copy);
    expect((await tool('verify')).out).toMatch(
      /the journal ends at entry \d+ and journal\.head is at entry \d+/,
    );
    await tool('accept-loss', '--yes');
    expect(await tool('restore', '--from', copy, '--accept-loss')).toMatchObject({ code: 0 });
    expect(await tool('verify')).toMatchObject({ code: 0 });
  });

  test('a file without its manifest, or not the one it describes, is refused', async () => {
    const copy = join(dataDir, 'copy.db');
    await tool('backup', '--to', copy);
    for (const name of readdirSync(files.directory)) rmSync(join(files.directory, name));
    const bare = join(dataDir, 'bare.db');
    copyFileSync(copy, bare);
    expect(await tool('restore', '--from', bare)).toMatchObject({
      code: 1,
      err: expect.stringContaining('manifest'),
    });
    appendFileSync(copy, 'x');
    expect(await tool('restore', '--from', copy)).toMatchObject({
      code: 1,
      err: expect.stringContaining('is not the file'),
    });
    expect(existsSync(files.database)).toBe(false);
  });

  test('a damaged journal makes no backup', async () => {
    rmSync(files.wal);
    const copy = join(dataDir, 'copy.db');
    expect(await tool('backup', '--to', copy)).toMatchObject({
      code: 1,
      err: expect.stringContaining('no backup (lost)'),
    });
    expect(existsSync(`${copy}.manifest.json`)).toBe(false);
    expect(dirname(copy)).toBe(dataDir);
  });
});
