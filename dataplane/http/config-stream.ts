/**
 * The change stream of config values, to one reader.
 *
 * S1  It carries state, not history: while a reader does not read, nothing is queued for it; when it
 *     reads again it gets what differs from what it was last sent. So its buffer holds one line.
 * S2  A reader that has not taken a line within `SLOW_READER_MS` is told so in a last line and cut
 *     off: whoever rests on values must not rest on old ones without knowing.
 * S3  A reader that comes back with the etag of its last line is sent only what has changed since;
 *     where that cannot be said, a snapshot, which replaces all that it knew.
 */
import type { Writable } from 'node:stream';
import type { Clock } from '../../shared/platform/clock.ts';
import type {
  ConfigLine,
  ConfigLineHead,
  ConfigStreamEnd,
  ConfigValue,
} from '../../shared/wire/config-value.ts';
import type { ConfigState, ConfigValues } from '../authority/config-values.ts';

export const HEARTBEAT_MS = 10_000;
export const SLOW_READER_MS = 30_000;
/** For the last line; then the connection is closed whether or not it was taken. */
const LAST_LINE_MS = 5_000;

export type ConfigStreamOptions = {
  readonly values: ConfigValues;
  readonly clock: Clock;
  readonly out: Writable;
  readonly key: string | null;
  readonly since: string | null;
  readonly format: 'ndjson' | 'sse';
  /** Aborts when the reader has gone. */
  readonly signal: AbortSignal;
  readonly onCut: (reason: ConfigStreamEnd) => void;
};

/** Resolves when the stream has ended, whoever ended it. */
export async function streamConfig(options: ConfigStreamOptions): Promise<void> {
  const { values, clock, key, since, signal } = options;
  let sent: ReadonlyMap<string, string> | null = null;
  let saidAtMs = -HEARTBEAT_MS;
  while (!signal.aborted) {
    if (values.isClosed) return end(options, 'shutting_down');
    const waiting = values.wait(HEARTBEAT_MS, signal);
    try {
      const state = values.state(key);
      const line = lineOf(state, { sent, since, clock, saidAtMs });
      if (line !== null) {
        sent = tagsOf(state.items);
        saidAtMs = clock.now().bootMs;
        if (!(await written(options, line))) {
          if (!signal.aborted) await end(options, 'slow_reader');
          return;
        }
        // Time has passed: what has changed meanwhile is looked at before anything is waited for.
        if (values.state(key).etag !== state.etag) continue;
      }
      await waiting.woken;
    } finally {
      waiting.cancel();
    }
  }
}

type Told = {
  readonly sent: ReadonlyMap<string, string> | null;
  readonly since: string | null;
  readonly clock: Clock;
  readonly saidAtMs: number;
};

/** `null` where there is nothing to say yet. */
function lineOf(state: ConfigState, { sent, since, clock, saidAtMs }: Told): ConfigLine | null {
  const { wallMs: atMs, bootMs } = clock.now();
  const { etag, policyRevision, stalenessMs, items } = state;
  const head: ConfigLineHead = { etag, policyRevision, stalenessMs, atMs };
  if (sent === null) {
    // S3: what still holds is not said again, but that it holds is.
    return since === etag ? { type: 'heartbeat', ...head } : { type: 'snapshot', ...head, items };
  }
  const tags = tagsOf(items);
  const changed = items.filter(({ key, etag: tag }) => sent.get(key) !== tag);
  const removed = [...sent.keys()].filter((key) => !tags.has(key));
  if (changed.length > 0 || removed.length > 0)
    return { type: 'change', ...head, items: changed, removed };
  return bootMs - saidAtMs >= HEARTBEAT_MS ? { type: 'heartbeat', ...head } : null;
}

const tagsOf = (items: readonly ConfigValue[]): ReadonlyMap<string, string> =>
  new Map(items.map(({ key, etag }) => [key, etag]));

/** S1, S2: whether the reader took it in time. */
async function written(
  { out, clock, format, signal }: ConfigStreamOptions,
  line: ConfigLine,
): Promise<boolean> {
  if (out.write(textOf(line, format))) return true;
  const over = new AbortController();
  const drained = (): void => over.abort();
  out.once('drain', drained);
  await clock.sleep(SLOW_READER_MS, AbortSignal.any([over.signal, signal]));
  out.off('drain', drained);
  return over.signal.aborted;
}

async function end(options: ConfigStreamOptions, reason: ConfigStreamEnd): Promise<void> {
  const { out, values, key, clock, format, signal, onCut } = options;
  const { etag, policyRevision, stalenessMs } = values.state(key);
  const detail =
    reason === 'slow_reader'
      ? `nothing was read for ${SLOW_READER_MS} ms: read on, or come back with since=ETAG`
      : 'the sidecar is stopping: come back with since=ETAG';
  const line: ConfigLine = {
    type: 'end',
    reason,
    detail,
    etag,
    policyRevision,
    stalenessMs,
    atMs: clock.now().wallMs,
  };
  onCut(reason);
  const over = new AbortController();
  out.end(textOf(line, format), () => over.abort());
  await clock.sleep(LAST_LINE_MS, AbortSignal.any([over.signal, signal]));
  if (!over.signal.aborted) out.destroy();
}

function textOf(line: ConfigLine, format: 'ndjson' | 'sse'): string {
  const json = JSON.stringify(line);
  // JSON has no line break of its own, so one `data` field holds it.
  return format === 'ndjson'
    ? `${json}\n`
    : `event: ${line.type}\nid: ${line.etag}\ndata: ${json}\n\n`;
}
