/** Config values for apps: one, all, a long poll, and a stream of changes. */
import { PassThrough } from 'node:stream';
import Type from 'typebox';
import { durationMs } from '../../shared/platform/configuration.ts';
import type { App } from '../../shared/platform/http/app.ts';
import {
  CONFIG_WAIT_MAX,
  ConfigKeySchema,
  ConfigReadQuerySchema,
  ConfigWatchQuerySchema,
} from '../../shared/wire/config-value.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { ConfigValues } from '../authority/config-values.ts';
import { streamConfig } from './config-stream.ts';
import { problems } from './problem-responses.ts';
import { readWaitMs } from './wait-query.ts';
import type { Parts } from './route-parts.ts';

const WAIT_MS_MAX = durationMs(CONFIG_WAIT_MAX);
const NDJSON = 'application/x-ndjson';
const SSE = 'text/event-stream';
const STREAMS_MAX = 128;
const STREAM_RETRY_MS = 5_000;

const conditional = Type.Object({
  'if-none-match': Type.Optional(Type.String({ maxLength: 200 })),
});
/** Without a body: a `null` would be written as one. */
const notModified = Type.Unsafe<undefined>({ description: 'as the ETag that was sent' });

export function installConfigRoutes(app: App, parts: Parts): void {
  installReading(app, parts);
  installStream(app, parts);
  // Before the server waits for its requests: those who wait are answered now.
  app.addHook('preClose', async () => parts.config.close());
}

function installReading(app: App, { config, clock }: Parts): void {
  app.get(
    '/v1/config',
    {
      schema: {
        summary: 'All config values; with `wait` and If-None-Match it waits for a change',
        querystring: ConfigReadQuerySchema,
        headers: conditional,
        response: { 200: Type.Ref('ConfigList'), 304: notModified, ...problems(400, 401, 503) },
      },
    },
    async (request, reply) => {
      const held = tagSent(request.headers);
      const waitMs = readWaitMs(request.query.wait, { standardMs: 0, maxMs: WAIT_MS_MAX });
      await changeFrom(held, () => config.listTag(), {
        config,
        clock,
        waitMs,
        signal: request.signal,
      });
      const etag = config.listTag();
      const list = config.list();
      void reply.header('etag', etag).header('cache-control', 'no-store');
      return etag === held ? reply.code(304).send() : { ...list, items: [...list.items] };
    },
  );
  app.get(
    '/v1/config/:key',
    {
      schema: {
        summary: 'One config value, with its age and its end',
        description:
          'Past maxStaleness it is what onExpiry says: `default` and `last` are marked `expired`, ' +
          '`error` is 503 config_expired. The ETag changes with the value, its terms, and whether it ' +
          'is expired.',
        params: Type.Object({ key: ConfigKeySchema }),
        querystring: ConfigReadQuerySchema,
        headers: conditional,
        response: {
          200: Type.Ref('ConfigValue'),
          304: notModified,
          ...problems(400, 401, 404, 503),
        },
      },
    },
    async (request, reply) => {
      const { key } = request.params;
      const held = tagSent(request.headers);
      const waitMs = readWaitMs(request.query.wait, { standardMs: 0, maxMs: WAIT_MS_MAX });
      await changeFrom(held, () => config.tagOf(key), {
        config,
        clock,
        waitMs,
        signal: request.signal,
      });
      const value = config.read(key);
      void reply.header('etag', value.etag).header('cache-control', 'no-store');
      return value.etag === held ? reply.code(304).send() : value;
    },
  );
}

function tagSent(headers: { 'if-none-match'?: string }): string | null {
  return headers['if-none-match']?.trim().replace(/^W\//, '') ?? null;
}

/** Resolves once the tag is not `held` any more, or when the time is over. */
async function changeFrom(
  held: string | null,
  tag: () => string,
  at: {
    readonly config: ConfigValues;
    readonly clock: Parts['clock'];
    readonly waitMs: number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { config, clock, waitMs, signal } = at;
  const endMs = clock.now().bootMs + waitMs;
  while (tag() === held && !config.isClosed && !signal.aborted) {
    const leftMs = endMs - clock.now().bootMs;
    if (leftMs <= 0) return;
    await config.wait(leftMs, signal).woken;
  }
}

const LINES = Type.String({ description: 'a ConfigChange in each line or event' });

function installStream(app: App, { config, clock, logger, onConfigStream }: Parts): void {
  let streams = 0;
  const counted = (change: 1 | -1): void => {
    streams += change;
    onConfigStream({ open: streams });
  };
  app.get(
    '/v1/config::watch',
    {
      // A HEAD would open a stream that nobody reads.
      exposeHeadRoute: false,
      schema: {
        summary: 'A stream of changes of config values',
        description:
          `NDJSON, or server-sent events where Accept asks for ${SSE}. First a snapshot, then what ` +
          'changes, with a heartbeat every 10 s. Give the etag of the last line back as `since` (or ' +
          'Last-Event-ID) to go on from there. A reader that takes nothing for 30 s is cut off with a ' +
          'line that says so.',
        querystring: ConfigWatchQuerySchema,
        headers: Type.Object({
          accept: Type.Optional(Type.String()),
          'last-event-id': Type.Optional(Type.String({ maxLength: 200 })),
        }),
        response: {
          200: { content: { [NDJSON]: { schema: LINES }, [SSE]: { schema: LINES } } },
          ...problems(400, 401, 503),
        },
      },
    },
    async (request, reply) => {
      if (config.isClosed) throw new HoldfastError('shutting_down', 'this sidecar is stopping');
      if (streams >= STREAMS_MAX) {
        throw new HoldfastError(
          'overloaded',
          `${STREAMS_MAX} streams of config are open, as many as this sidecar serves: share one, or read with wait`,
          { retry_after_ms: STREAM_RETRY_MS },
        );
      }
      const { key = null, since } = request.query;
      const format = request.headers.accept?.includes(SSE) === true ? 'sse' : 'ndjson';
      const out = new PassThrough();
      const gone = new AbortController();
      out.once('close', () => gone.abort());
      counted(1);
      const stream = streamConfig({
        values: config,
        clock,
        out,
        key,
        since: since ?? request.headers['last-event-id'] ?? null,
        format,
        signal: gone.signal,
        onCut: (reason) => onConfigStream({ open: streams, cut: reason }),
      });
      void stream
        .catch((error: unknown) => {
          logger.warn({ err: error }, 'a stream of config ended');
          out.destroy();
        })
        .finally(() => counted(-1));
      return reply
        .header('content-type', format === 'sse' ? SSE : NDJSON)
        .header('cache-control', 'no-store')
        .send(out);
    },
  );
}
