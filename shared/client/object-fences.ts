/**
 * Fences in an object store that has conditional writes, as S3 has: the epoch of its writer is kept
 * in the object, and each write is made on the condition that the object is still the one whose
 * epoch was compared.
 *
 * An object begins with a line that names its epoch. It is not for readers: the ETag that S3 gives
 * is often no more than a hash of the bytes, so without it a newer owner who writes the same bytes
 * again would leave the ETag as it was, and an older one could still write over it.
 *
 * - Every writer of the object goes through here; one that does not takes the fence away.
 * - An object that is deleted, or expires, takes its fence with it: write an empty one instead.
 * - The store must honour `If-Match` and `If-None-Match: *`; one that ignores them guards nothing.
 * - Nothing orders the writes of one epoch, which are those of one owner: the last wins.
 */

/** The part of the object that is compared without reading it; also for people who look at it. */
export const EPOCH_METADATA = 'x-amz-meta-holdfast-epoch';

const ATTEMPTS_MAX = 8;
const EPOCH_LINE = /^holdfast-epoch: (\d{1,16})\n/;
/** Longer than any such line. */
const LINE_BYTES_MAX = 64;

export type ObjectRequest = {
  readonly method: 'GET' | 'HEAD' | 'PUT';
  readonly headers: Record<string, string>;
  readonly body?: string;
};
export type ObjectAnswer = {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
};

/**
 * `fetch`, or one that signs. It may repeat a request that had no answer: the fence stands that, but
 * then `stale` or `contended` can follow a write that was there for a moment.
 */
export type ObjectFetch = (url: string, request: ObjectRequest) => Promise<ObjectAnswer>;

export type FencedObject = {
  readonly epoch: number;
  readonly etag: string;
  /** Without the line of the epoch. */
  readonly body: string;
};

export type FencedPut =
  | { readonly outcome: 'written'; readonly etag: string }
  | { readonly outcome: 'stale'; readonly highestEpoch: number }
  /** Others wrote between each reading and writing, so often; nothing was written. */
  | { readonly outcome: 'contended'; readonly attempts: number };

export type FencedPutRequest = {
  readonly url: string;
  readonly epoch: number;
  readonly body: string;
  readonly contentType?: string;
  readonly attemptsMax?: number;
};

/**
 * Throws what `send` throws where no answer came: then it may have been written, and to put it
 * again is safe. Throws also on an answer that says neither, and on an object without an epoch.
 */
export async function putFenced(send: ObjectFetch, request: FencedPutRequest): Promise<FencedPut> {
  const { url, epoch, body, contentType, attemptsMax = ATTEMPTS_MAX } = request;
  if (!Number.isSafeInteger(epoch) || epoch < 1)
    throw new RangeError(`epoch ${epoch} is no fencing token; they are whole numbers from 1`);
  const headers = {
    [EPOCH_METADATA]: String(epoch),
    'content-type': contentType ?? 'application/octet-stream',
  };
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const stored = await stateOf(send, url);
    if (stored !== null && stored.epoch > epoch)
      return { outcome: 'stale', highestEpoch: stored.epoch };
    const condition = stored === null ? { 'if-none-match': '*' } : { 'if-match': stored.etag };
    const answer = await send(url, {
      method: 'PUT',
      headers: { ...headers, ...condition },
      body: `holdfast-epoch: ${epoch}\n${body}`,
    });
    if (answer.status === 200 || answer.status === 201)
      return { outcome: 'written', etag: answer.headers.get('etag') ?? '' };
    // 412: it is another object now. 409: so it may become. 404: there is none any more.
    if (![404, 409, 412].includes(answer.status)) throw await unexpected('PUT', url, answer);
    await answer.text();
  }
  return { outcome: 'contended', attempts: attemptsMax };
}

/** `null` where there is none. */
export async function getFenced(send: ObjectFetch, url: string): Promise<FencedObject | null> {
  const answer = await send(url, { method: 'GET', headers: {} });
  if (answer.status === 404) return null;
  if (answer.status !== 200) throw await unexpected('GET', url, answer);
  const text = await answer.text();
  const line = EPOCH_LINE.exec(text.slice(0, LINE_BYTES_MAX));
  if (line === null) throw unfenced(url);
  return { epoch: Number(line[1]), etag: etagOf(url, answer), body: text.slice(line[0].length) };
}

async function stateOf(
  send: ObjectFetch,
  url: string,
): Promise<{ readonly epoch: number; readonly etag: string } | null> {
  const answer = await send(url, { method: 'HEAD', headers: {} });
  if (answer.status === 404) return null;
  if (answer.status !== 200) throw await unexpected('HEAD', url, answer);
  const epoch = answer.headers.get(EPOCH_METADATA);
  if (epoch === null || !/^\d{1,16}$/.test(epoch)) throw unfenced(url);
  return { epoch: Number(epoch), etag: etagOf(url, answer) };
}

function etagOf(url: string, answer: ObjectAnswer): string {
  const etag = answer.headers.get('etag');
  // A weak one is never equal to another for `If-Match`.
  if (etag !== null && !etag.startsWith('W/')) return etag;
  throw new Error(`${url} has ETag ${etag ?? 'none'}; a conditional write needs a strong one`);
}

function unfenced(url: string): Error {
  return new Error(
    `${url} was not written through putFenced: it names no epoch, and anybody may have written it; ` +
      'move it aside and put its content again',
  );
}

async function unexpected(method: string, url: string, answer: ObjectAnswer): Promise<Error> {
  const hint =
    method === 'HEAD' && answer.status === 403
      ? '; S3 says so also of an object that is not there, to who may not list the bucket'
      : '';
  const said = (await answer.text()).slice(0, 200);
  return new Error(`${method} ${url} was answered ${answer.status}${hint} ${said}`.trim());
}
