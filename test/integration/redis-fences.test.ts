import { afterEach, beforeEach, describe, expect } from 'vitest';
import { redisFences } from '../../shared/client/index.ts';
import { RedisServer, type RedisClient } from '../fakes/redis-server.ts';
import { findProgram, programTest } from '../skips.ts';

const RESOURCE = 'orders/7';
const FENCE_KEY = 'holdfast:fence:{orders/7}';
const KEY = '{orders/7}:balance';
const redisTest = programTest('redis-server');

let server: RedisServer | null = null;
let older: RedisClient;
let newer: RedisClient;

beforeEach(async () => {
  const program = findProgram('redis-server');
  if (program === undefined) return;
  server = await RedisServer.start(program);
  [older, newer] = [server.connect(), server.connect()];
});
afterEach(async () => {
  if (server === null) return;
  older.close();
  newer.close();
  await server.stop();
  server = null;
});

function write(client: RedisClient, epoch: number, value: string) {
  return redisFences(client).write({ resource: RESOURCE, key: KEY, epoch, value });
}

/** The epochs of the fence, in the order in which they became durable. */
function epochsAppended(): number[] {
  const set = /SET\r\n\$\d+\r\nholdfast:fence:\{orders\/7\}\r\n\$\d+\r\n(\d+)\r\n/g;
  return [...(server?.appended() ?? '').matchAll(set)].map(([, epoch]) => Number(epoch));
}

describe('fences in Redis', () => {
  redisTest('I6: a stale owner changes nothing, and hears the highest epoch', async () => {
    expect(await write(older, 5, 'a')).toEqual({ accepted: true, highestEpoch: 5 });
    expect(await write(older, 5, 'b')).toEqual({ accepted: true, highestEpoch: 5 });
    expect(await write(newer, 6, 'c')).toEqual({ accepted: true, highestEpoch: 6 });
    expect(await write(older, 5, 'd')).toEqual({ accepted: false, highestEpoch: 6 });
    expect(await newer.sendCommand(['GET', KEY])).toBe('c');
    expect(await newer.sendCommand(['TTL', FENCE_KEY])).toBe(-1);
  });

  redisTest(
    'the fence alone, as the plugin asks for it, and epochs up to the largest',
    async () => {
      const fences = redisFences(older);
      const largest = Number.MAX_SAFE_INTEGER;
      expect(await fences.check(RESOURCE, largest - 1)).toMatchObject({ accepted: true });
      expect(await fences.check(RESOURCE, largest)).toMatchObject({ accepted: true });
      expect(await fences.check(RESOURCE, largest - 1)).toEqual({
        accepted: false,
        highestEpoch: largest,
      });
      expect(await fences.check('orders/8', 1)).toEqual({ accepted: true, highestEpoch: 1 });
      expect(await newer.sendCommand(['GET', KEY])).toBeNull();
    },
  );

  redisTest('what is no epoch is refused before anything is written, here or there', async () => {
    // To Lua `nan` is a number, and not below any other.
    for (const epoch of [Number.NaN, -1, 1.5, Infinity])
      await expect(write(older, epoch, 'x')).rejects.toThrow('epochs are whole numbers');
    expect(await newer.sendCommand(['GET', FENCE_KEY])).toBeNull();
    await newer.sendCommand(['SET', FENCE_KEY, 'seven']);
    await expect(write(older, 9, 'x')).rejects.toThrow('epochs are whole numbers, here: 9, seven');
    expect(await newer.sendCommand(['GET', KEY])).toBeNull();
  });

  redisTest('I6: two owners that race: no write is below one that was before it', async () => {
    const { promise: underWay, resolve } = Promise.withResolvers<void>();
    // Both go on at one moment, each with one write after the other, until the older one has been
    // refused for a while.
    const stale = (async () => {
      const verdicts: boolean[] = [];
      while (verdicts.filter((accepted) => !accepted).length < 50) {
        verdicts.push((await write(older, 5, 'old')).accepted);
        if (verdicts.length === 20) resolve();
      }
      return verdicts;
    })();
    await underWay;
    for (let round = 0; round < 50; round += 1)
      expect(await write(newer, 6, `new ${round}`)).toMatchObject({ accepted: true });
    const verdicts = await stale;
    const accepted = verdicts.indexOf(false);
    expect(verdicts.slice(accepted)).not.toContain(true);
    expect(await newer.sendCommand(['GET', KEY])).toBe('new 49');
    const epochs = epochsAppended();
    expect(epochs).toEqual(epochs.toSorted((a, b) => a - b));
    expect(epochs).toHaveLength(accepted + 50);
  });

  redisTest(
    'I6: Redis killed in the midst of writes and started again keeps the fence',
    async () => {
      let acknowledged = 0;
      const { promise: busy, resolve } = Promise.withResolvers<void>();
      const writing = (async () => {
        for (let epoch = 1; ; epoch += 1) {
          await write(newer, epoch, `by ${epoch}`);
          acknowledged = epoch;
          if (epoch === 50) resolve();
        }
      })();
      const cut = writing.catch(String);
      await busy;
      await server?.kill();
      expect(await cut).toContain('the connection is closed');
      await server?.restart();
      older = server?.connect() ?? older;
      const highest = Number(await older.sendCommand(['GET', FENCE_KEY]));
      expect(highest).toBeGreaterThanOrEqual(acknowledged);
      // The fence and its value went together.
      expect(await older.sendCommand(['GET', KEY])).toBe(`by ${highest}`);
      expect(await write(older, acknowledged - 1, 'stale')).toEqual({
        accepted: false,
        highestEpoch: highest,
      });
      expect(await older.sendCommand(['GET', KEY])).toBe(`by ${highest}`);
    },
  );
});
