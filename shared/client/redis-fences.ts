/**
 * Fences in Redis. One script compares the epoch, raises the fence and writes the value, and nothing
 * runs between: `write` is the whole guard, as long as every writer of that key goes through it.
 *
 * A fence is as durable as this Redis, and no more:
 * - It answers after its fsync with `appendonly yes` and `appendfsync always` only. With `everysec`,
 *   which is the default of an append-only file, a power cut takes about the last second with it,
 *   and without such a file all since the last snapshot: a fence goes down, and who was refused is
 *   let in.
 * - Replication is asynchronous: a replica that takes over may not have the last writes. `WAIT`
 *   makes that rarer, not impossible.
 * - A fence that is evicted or deleted is forgotten: `maxmemory-policy noeviction`, and no expiry.
 * Where that is too little, keep what must not be overwritten in PostgreSQL or in objects.
 */
import type { Fences, FenceVerdictAnswer } from './fencing-plugin.ts';

/**
 * KEYS: the fence; the value, or without it the fence alone is compared and raised. ARGV: the
 * epoch; the new value. Answers whether it was done, and the highest epoch, as a string: Lua prints
 * a large number with fewer digits than it has. The fence goes up first, because a script that
 * fails halfway is not undone.
 */
export const REDIS_FENCED_SET = `
local epoch, highest = ARGV[1], redis.call('GET', KEYS[1]) or '0'
if not string.find(epoch, '^%d+$') or not string.find(highest, '^%d+$') then
  return redis.error_reply('ERR epochs are whole numbers, here: ' .. epoch .. ', ' .. highest)
end
if tonumber(epoch) < tonumber(highest) then
  return { 0, highest }
end
redis.call('SET', KEYS[1], epoch)
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[2])
end
return { 1, epoch }
`;

/** As `redis` has it; for `ioredis`: `{ sendCommand: ([name, ...rest]) => client.call(name, ...rest) }`. */
export type RedisConnection = {
  sendCommand(args: string[]): Promise<unknown>;
};

export type RedisWrite = {
  readonly resource: string;
  readonly epoch: number;
  /** In a cluster it must lie where the fence lies: put `{resource}` in its name, braces included. */
  readonly key: string;
  readonly value: string;
};

/**
 * `check` is for `guardWithFencing`: a write that comes after it is a second step, between which
 * and the first a newer owner may have come. What is in Redis itself goes through `write`.
 */
export type RedisFences = Fences & {
  write(write: RedisWrite): Promise<FenceVerdictAnswer>;
};

export function redisFences(connection: RedisConnection): RedisFences {
  const run = async (keys: string[], args: string[]): Promise<FenceVerdictAnswer> => {
    const command = ['EVAL', REDIS_FENCED_SET, String(keys.length), ...keys, ...args];
    const answer = await connection.sendCommand(command);
    if (!Array.isArray(answer) || answer.length !== 2)
      throw new Error(`Redis answered ${JSON.stringify(answer)}, and not what the script returns`);
    // Some clients give strings, some buffers.
    return { accepted: Number(String(answer[0])) === 1, highestEpoch: Number(String(answer[1])) };
  };
  return {
    check: (resource, epoch) => run([fenceKey(resource)], [String(epoch)]),
    write: ({ resource, epoch, key, value }) =>
      run([fenceKey(resource), key], [String(epoch), value]),
  };
}

function fenceKey(resource: string): string {
  return `holdfast:fence:{${resource}}`;
}
