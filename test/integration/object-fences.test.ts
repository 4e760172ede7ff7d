import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  EPOCH_METADATA,
  getFenced,
  putFenced,
  type FencedPut,
  type ObjectFetch,
} from '../../shared/client/index.ts';
import { ObjectServer } from '../fakes/object-server.ts';

let store: ObjectServer;
let url: string;

beforeEach(async () => {
  store = await ObjectServer.start();
  url = store.url('/bucket/orders/7.json');
});
afterEach(() => store.close());

const put = (epoch: number, body: string, send: ObjectFetch = fetch): Promise<FencedPut> =>
  putFenced(send, { url, epoch, body });

/** Does `between` once, after the object has been read and before it is written. */
function interrupted(between: () => Promise<unknown>): ObjectFetch {
  let isDone = false;
  return async (target, request) => {
    if (request.method === 'PUT' && !isDone) {
      isDone = true;
      await between();
    }
    return fetch(target, request);
  };
}

const epochsWritten = (): number[] =>
  store.written.map(({ headers }) => Number(headers[EPOCH_METADATA]));

describe('fences in objects', () => {
  test('I6: a stale owner changes nothing, and hears the highest epoch', async () => {
    expect(await getFenced(fetch, url)).toBeNull();
    expect(await put(5, 'a')).toMatchObject({ outcome: 'written' });
    expect(await put(5, 'b')).toMatchObject({ outcome: 'written' });
    const written = await put(6, '{"balance":3}');
    expect(await put(5, 'd')).toEqual({ outcome: 'stale', highestEpoch: 6 });
    const stored = await getFenced(fetch, url);
    expect(stored).toMatchObject({ epoch: 6, body: '{"balance":3}' });
    expect(written).toEqual({ outcome: 'written', etag: stored?.etag });
    expect(epochsWritten()).toEqual([5, 5, 6]);
  });

  test('I6: a newer owner that comes between reading and writing: the older one is refused', async () => {
    const first = interrupted(() => put(6, 'newer'));
    expect(await put(5, 'older', first)).toEqual({ outcome: 'stale', highestEpoch: 6 });
    const second = interrupted(() => put(8, 'newest'));
    expect(await put(7, 'older', second)).toEqual({ outcome: 'stale', highestEpoch: 8 });
    expect(epochsWritten()).toEqual([6, 8]);
    expect(store.refused).toBe(2);
  });

  test('I6: and also where the newer owner writes the same bytes, which have one MD5', async () => {
    await put(5, 'same');
    const send = interrupted(() => put(6, 'same'));
    expect(await put(5, 'older', send)).toEqual({ outcome: 'stale', highestEpoch: 6 });
    expect(await getFenced(fetch, url)).toMatchObject({ epoch: 6, body: 'same' });
  });

  test('an older owner that comes between, or a conflict, only has the newer one try again', async () => {
    const send = interrupted(() => put(5, 'older'));
    expect(await put(6, 'newer', send)).toMatchObject({ outcome: 'written' });
    store.conflicts = 2;
    expect(await put(7, 'newest')).toMatchObject({ outcome: 'written' });
    const gone = interrupted(() => fetch(url, { method: 'DELETE' }));
    expect(await put(8, 'again', gone)).toMatchObject({ outcome: 'written' });
    expect(epochsWritten()).toEqual([5, 6, 7, 8]);
  });

  test('I6: twelve owners at one moment: no write is below one that was before it', async () => {
    // 1, 6, 11, 4 ...: neither up nor down, so that the order of arrival decides nothing.
    const epochs = Array.from({ length: 12 }, (_, index) => ((index * 5) % 12) + 1);
    const attemptsMax = 100;
    const outcomes = await Promise.all(
      epochs.map((epoch) => putFenced(fetch, { url, epoch, body: `by ${epoch}`, attemptsMax })),
    );
    expect(outcomes[epochs.indexOf(12)]).toMatchObject({ outcome: 'written' });
    expect(outcomes.some(({ outcome }) => outcome === 'contended')).toBe(false);
    const written = epochsWritten();
    expect(written).toEqual(written.toSorted((a, b) => a - b));
    expect(store.refused).toBeGreaterThan(0);
    expect(await getFenced(fetch, url)).toMatchObject({ epoch: 12, body: 'by 12' });
  });

  test('it gives up after so many attempts, and has written nothing', async () => {
    await put(5, 'first');
    store.conflicts = 100;
    expect(await put(5, 'x')).toEqual({ outcome: 'contended', attempts: 8 });
    expect(store.conflicts).toBe(92);
    expect(await getFenced(fetch, url)).toMatchObject({ body: 'first' });
  });

  test('I6: a write whose answer was lost is put again, by its owner or not at all', async () => {
    const losing: ObjectFetch = async (target, request) => {
      const answer = await fetch(target, request);
      if (request.method === 'PUT') throw new Error('the connection was reset');
      return answer;
    };
    await expect(put(5, 'a', losing)).rejects.toThrow('the connection was reset');
    expect(await put(5, 'a')).toMatchObject({ outcome: 'written' });
    await expect(put(5, 'b', losing)).rejects.toThrow('the connection was reset');
    await put(6, 'c');
    expect(await put(5, 'b')).toEqual({ outcome: 'stale', highestEpoch: 6 });
  });

  test('what cannot be judged is refused with the way out', async () => {
    for (const epoch of [0, -1, 1.5, Number.NaN])
      await expect(put(epoch, 'x')).rejects.toThrow('is no fencing token');
    await fetch(url, { method: 'PUT', body: 'by hand' });
    await expect(put(9, 'x')).rejects.toThrow('was not written through putFenced');
    await expect(getFenced(fetch, url)).rejects.toThrow('was not written through putFenced');
    expect(await (await fetch(url)).text()).toBe('by hand');
    const forbidden: ObjectFetch = async () => new Response(null, { status: 403 });
    await expect(put(9, 'x', forbidden)).rejects.toThrow('who may not list the bucket');
    const weak: ObjectFetch = async () =>
      new Response('', { headers: { etag: 'W/"1"', [EPOCH_METADATA]: '1' } });
    await expect(put(9, 'x', weak)).rejects.toThrow('needs a strong one');
  });
});
