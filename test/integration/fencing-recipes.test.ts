/** The recipes of deploy/examples/fencing, each against the real thing. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { expect, test } from 'vitest';
import {
  writeToObject,
  writeToPostgres,
  writeToRedis,
  type OrderWrite,
} from '../../deploy/examples/fencing/fenced-writes.ts';
import { openGuardedService, putOrder } from '../../deploy/examples/fencing/guarded-service.ts';
import { AUTHORITY_HEADER, getFenced, memoryFences } from '../../shared/client/index.ts';
import { startDevDaemons } from '../fakes/dev-daemons.ts';
import { ObjectServer } from '../fakes/object-server.ts';
import { startPostgres } from '../fakes/postgres-server.ts';
import { RedisServer } from '../fakes/redis-server.ts';
import { findProgram, programTest } from '../skips.ts';

type Write = (write: OrderWrite) => Promise<boolean>;

/** Two owners, the older of which comes back after the newer one has written. */
async function checkStaleIsRefused(write: Write, stored: () => Promise<unknown>): Promise<void> {
  const order = { id: '7' };
  expect(await write({ ...order, epoch: 5, state: 'packed' })).toBe(true);
  expect(await write({ ...order, epoch: 5, state: 'sent' })).toBe(true);
  expect(await write({ ...order, epoch: 6, state: 'returned' })).toBe(true);
  expect(await write({ ...order, epoch: 5, state: 'sent' })).toBe(false);
  expect(await stored()).toBe('returned');
}

programTest('postgres')(
  'I6: PostgreSQL: UPDATE ... WHERE fence <= $1',
  async () => {
    const server = await startPostgres(realpathSync(findProgram('postgres') ?? ''));
    const [older, newer] = [new pg.Client(server.connection), new pg.Client(server.connection)];
    try {
      await Promise.all([older.connect(), newer.connect()]);
      await older.query('CREATE TABLE orders (id text PRIMARY KEY, state text)');
      await older.query(`INSERT INTO orders VALUES ('7', 'new'), ('8', 'new')`);
      await older.query('ALTER TABLE orders ADD COLUMN fence bigint NOT NULL DEFAULT 0');
      const stored = async (): Promise<unknown> =>
        (await newer.query<{ state: string }>(`SELECT state FROM orders WHERE id = '7'`)).rows[0]
          ?.state;
      await checkStaleIsRefused((write) => writeToPostgres(older, write), stored);
      // Not committed yet: the older owner waits for it, and then compares with what was committed.
      await newer.query('BEGIN');
      expect(await writeToPostgres(newer, { id: '7', epoch: 9, state: 'kept' })).toBe(true);
      const late = writeToPostgres(older, { id: '7', epoch: 8, state: 'lost' });
      await newer.query('COMMIT');
      expect(await late).toBe(false);
      expect(await stored()).toBe('kept');
    } finally {
      await Promise.all([older.end(), newer.end()]);
      await server.stop();
    }
  },
  60_000,
);

programTest('redis-server')('I6: Redis: the script', async () => {
  const server = await RedisServer.start(findProgram('redis-server') ?? '');
  const client = server.connect();
  try {
    await checkStaleIsRefused(
      (write) => writeToRedis(client, write),
      () => client.sendCommand(['GET', '{orders/7}:state']),
    );
  } finally {
    client.close();
    await server.stop();
  }
});

test('I6: objects: the conditional put', async () => {
  const server = await ObjectServer.start();
  const bucketUrl = server.url('/bucket');
  try {
    await checkStaleIsRefused(
      (write) => writeToObject(fetch, bucketUrl, write),
      async () => (await getFenced(fetch, `${bucketUrl}/orders/7`))?.body,
    );
    server.conflicts = 100;
    const write = { id: '7', epoch: 6, state: 'sent' };
    await expect(writeToObject(fetch, bucketUrl, write)).rejects.toThrow('try again');
  } finally {
    await server.close();
  }
});

test('I6, I10: a service verifies by the keys of a control that was killed, and refuses the epoch before', async () => {
  const daemons = await startDevDaemons({ HOLDFAST_SYNC_INTERVAL: '200ms' });
  const { supervisor } = daemons;
  const sidecar = supervisor.openSidecarClient();
  const folder = mkdtempSync(join(tmpdir(), 'guarded-'));
  const orders = new Map<string, OrderWrite>();
  const open = async () => {
    const service = openGuardedService({
      controlUrl: supervisor.url('control'),
      keysFile: join(folder, 'keys.json'),
      fences: memoryFences(),
      write: async (write) => {
        if ((orders.get(write.id)?.epoch ?? 0) > write.epoch) return false;
        orders.set(write.id, write);
        return true;
      },
    });
    const url = await service.listen({ host: '127.0.0.1', port: 0 });
    const putWith = async (token: string) => {
      const headers = { [AUTHORITY_HEADER]: token, 'content-type': 'text/plain' };
      const answer = await fetch(`${url}/orders/7`, { method: 'PUT', headers, body: 'stale' });
      const said = await answer.text();
      return { status: answer.status, code: said === '' ? '' : JSON.parse(said).code };
    };
    return { service, url, putWith };
  };
  const first = await open();
  let second: Awaited<ReturnType<typeof open>> | null = null;
  try {
    await sidecar.acquireLease('orders/7');
    const old = await sidecar.leaseToken('orders/7');
    expect(await putOrder(sidecar, first.url, { id: '7', state: 'packed' })).toBe(204);
    await sidecar.releaseLease('orders/7');
    await sidecar.acquireLease('orders/7');
    const current = await sidecar.leaseToken('orders/7');
    expect(current.epoch).toBeGreaterThan(old.epoch);
    await supervisor.kill('control');
    await expect(fetch(supervisor.url('control'))).rejects.toThrow('fetch failed');
    // Until the newer owner has been here, nothing says that there is one.
    expect(await first.putWith(old.token)).toEqual({ status: 204, code: '' });
    expect(await putOrder(sidecar, first.url, { id: '7', state: 'sent' })).toBe(204);
    expect(await first.putWith(old.token)).toEqual({ status: 412, code: 'stale_owner' });
    expect(orders.get('7')).toMatchObject({ epoch: current.epoch, state: 'sent' });
    // Started again in the outage: the keys were kept, the fences in memory were not, and what is
    // written compares all the same.
    second = await open();
    expect(await second.putWith(old.token)).toEqual({ status: 412, code: '' });
    expect(await putOrder(sidecar, second.url, { id: '7', state: 'done' })).toBe(204);
    expect(await second.putWith(old.token)).toEqual({ status: 412, code: 'stale_owner' });
    expect(await second.putWith(`${current.token}x`)).toEqual({
      status: 401,
      code: 'authority_invalid',
    });
    expect(orders.get('7')).toMatchObject({ epoch: current.epoch, state: 'done' });
  } finally {
    await first.service.close();
    await second?.service.close();
    await sidecar.close();
    await daemons.close();
    rmSync(folder, { recursive: true });
  }
}, 60_000);
