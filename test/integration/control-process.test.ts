import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FakeClock } from '../fakes/fake-clock.ts';
import { ControlProcess, adminTokenIn, startControl } from '../fakes/control-process.ts';
import type { Answer, ControlWorld } from '../fakes/control-world.ts';
import { policyDocument } from '../fakes/control-world.ts';
import { SigningHost } from '../fakes/signing-host.ts';

let directory: string;
let dataDir: string;
const started: ControlProcess[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-process-'));
  dataDir = join(directory, 'data');
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((process) => process.kill('SIGKILL')));
  rmSync(directory, { recursive: true });
});

const run = (...args: string[]): ControlProcess => {
  const process = new ControlProcess(args);
  started.push(process);
  return process;
};
const start = (...args: string[]): ControlProcess => {
  const process = startControl(dataDir, ...args);
  started.push(process);
  return process;
};

async function call(
  address: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(address + path, {
    method,
    headers: {
      authorization: `Bearer ${adminTokenIn(dataDir)}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = (response.headers.get('content-type') ?? '').includes('json');
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson ? (JSON.parse(text) as Answer['json']) : {},
  };
}

/** A host that talks to the process, in the real time of this machine. */
async function enrolled(address: () => string): Promise<SigningHost> {
  const clock = { now: () => ({ wallMs: Date.now(), bootMs: 0, bootId: '' }) } as FakeClock;
  const world = {
    clock,
    call: (
      method: string,
      path: string,
      options: { body?: unknown; text?: string; headers?: Record<string, string> },
    ) => call(address(), method, path, options.text ?? options.body, options.headers),
  } as unknown as ControlWorld;
  const host = await SigningHost.create(world, 'host-1');
  const token = await call(address(), 'POST', '/v1/join-tokens', { hostName: 'host-1' });
  await host.enrol(String(token.json['joinToken']));
  return host;
}

describe('the process', () => {
  test('I6, I11, I12: kill -9 loses nothing that was answered, and epochs go on', async () => {
    let process = start();
    let address = await process.listening;
    const host = await enrolled(() => address);
    await call(address, 'PUT', '/v1/policy', policyDocument(), { 'if-none-match': '*' });
    const epoch = await host.acquire('orders/1');
    host.record('policy_activated', { policyRevision: 1 });
    await host.reported(host.journal());
    const bundle = await call(address, 'GET', '/v1/bundle');
    expect((await process.kill('SIGKILL')).signal).toBe('SIGKILL');

    process = start();
    address = await process.listening;
    expect((await call(address, 'GET', '/v1/bundle')).text).toBe(bundle.text);
    const answer = await host.sync({ renew: [{ resource: 'orders/1', epoch }] });
    expect(answer).toMatchObject({
      policyRevision: 1,
      ackedSeq: 1,
      leases: [{ resource: 'orders/1', epoch }],
    });
    expect(await host.acquire('orders/2')).toBeGreaterThan(epoch);
    const { items } = (await call(address, 'GET', '/v1/audit')).json as {
      items: { seq: number }[];
    };
    expect(items.map(({ seq }) => seq)).toEqual(items.map((_, index) => items.length - index));
    expect((await process.kill('SIGTERM')).code).toBe(0);
  });

  test('I6: killed again and again while it grants, it never grants an epoch twice', async () => {
    let address = '';
    let process = start();
    address = await process.listening;
    const host = await enrolled(() => address);
    const epochs: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      const asked = Array.from({ length: 8 }, (_, index) => `r${round}/${index}`);
      const answers = asked.map((resource) =>
        host.acquire(resource).then(
          (epoch) => epochs.push(epoch),
          () => {},
        ),
      );
      await Promise.race(answers);
      await process.kill('SIGKILL');
      await Promise.all(answers);
      process = start();
      address = await process.listening;
    }
    const last = await host.acquire('last');
    expect(epochs.length).toBeGreaterThanOrEqual(4);
    expect(new Set([...epochs, last]).size).toBe(epochs.length + 1);
    expect(Math.max(...epochs)).toBeLessThan(last);
  });

  test('the token of the first admin is in a file for its user alone, and never in the log', async () => {
    const process = start();
    await process.listening;
    const token = adminTokenIn(dataDir);
    expect(JSON.stringify(process.lines)).not.toContain(token);
    expect(process.lines.find(({ path }) => path === join(dataDir, 'admin.token'))).toBeDefined();
    for (const name of ['admin.token', 'signing-keys.json']) {
      expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
    }
    await process.kill('SIGTERM');
    const again = start();
    await again.listening;
    expect(adminTokenIn(dataDir)).toBe(token);
  });

  test('of two on one directory the older one ends: it must not grant beside the newer', async () => {
    const first = start();
    const firstAddress = await first.listening;
    const second = start();
    await second.listening;
    // It may end before its answer leaves.
    const asked = call(firstAddress, 'POST', '/v1/join-tokens', { hostName: 'h' });
    expect(
      await asked.then(
        ({ status }) => status >= 500,
        () => true,
      ),
    ).toBe(true);
    const exit = await first.exited;
    expect([exit.code, exit.stderr]).toEqual([
      1,
      expect.stringMatching(/another control has taken over/),
    ]);
  });
});

describe('a start that cannot be says why in one line', () => {
  const ended = async (process: ControlProcess) => {
    const { code, stderr } = await process.exited;
    return { code, lines: stderr.trim().split('\n') };
  };

  test('the port is in use: 3', async () => {
    const first = start();
    const address = (await first.listening).replace('http://', '');
    const { code, lines } = await ended(
      run('--data-dir', join(directory, 'other'), '--listen', address),
    );
    expect([code, lines]).toEqual([3, [expect.stringMatching(/is in use: .*--listen/)]]);
  });

  test('the directory cannot be made: 3', async () => {
    writeFileSync(join(directory, 'file'), '');
    const { code, lines } = await ended(run('--data-dir', join(directory, 'file', 'data')));
    expect([code, lines]).toEqual([3, [expect.stringMatching(/cannot write to .*--data-dir/)]]);
  });

  test('the data is of a newer version: 3', async () => {
    const first = start();
    await first.listening;
    await first.kill('SIGTERM');
    const database = new DatabaseSync(join(dataDir, 'control.db'));
    database.exec("INSERT INTO schema_migrations VALUES (99, 'future', 'x')");
    database.close();
    const { code, lines } = await ended(start());
    expect([code, lines]).toEqual([
      3,
      [expect.stringMatching(/schema version 99 .* run the newer program/)],
    ]);
  });

  test('the database, the keys or the floor file are damaged: 3', async () => {
    const first = start();
    await first.listening;
    await first.kill('SIGTERM');
    for (const [name, message] of [
      ['floor.json', /damaged/],
      ['signing-keys.json', /damaged/],
      ['control.db', /restore from a backup/],
    ] as const) {
      const path = join(dataDir, name);
      const before = readFileSync(path);
      writeFileSync(path, 'not what it was');
      const { code, lines } = await ended(start());
      expect([name, code, lines]).toEqual([name, 3, [expect.stringMatching(message)]]);
      writeFileSync(path, before);
    }
  });

  test('the audit trail was changed: 3', async () => {
    const first = start();
    await first.listening;
    await first.kill('SIGTERM');
    const database = new DatabaseSync(join(dataDir, 'control.db'));
    database.exec("DROP TRIGGER audit_is_not_changed; UPDATE audit SET actor = 'nobody'");
    database.close();
    const { code, lines } = await ended(start());
    expect([code, lines]).toEqual([3, [expect.stringMatching(/audit entry 1 was changed/)]]);
  });

  test('flags and values that are none: 2, all of them at once', async () => {
    const { code, lines } = await ended(
      run('--data-dri', 'x', '--lease-ttl', 'soon', '--drift', '2'),
    );
    expect(code).toBe(2);
    expect(lines.join('\n')).toMatch(/--data-dri; did you mean --data-dir/);
    expect(lines.join('\n')).toMatch(/leaseTtl.*soon/);
    expect(lines.join('\n')).toMatch(/drift.*2/);
  });

  test('sums that do not come out: 2', async () => {
    const { code, lines } = await ended(
      run('--host-lost-after', '5s', '--lease-ttl', '100ms', '--listen', 'nowhere'),
    );
    expect([code, lines.length]).toEqual([2, 4]);
  });

  test('--help is no failure', async () => {
    const process = run('--help');
    expect((await process.exited).code).toBe(0);
    expect(process.lines.map(({ text }) => text).join('\n')).toMatch(
      /--lease-ttl {2}HOLDFAST_LEASE_TTL/,
    );
  });
});
