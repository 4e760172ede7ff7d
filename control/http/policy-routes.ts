import Type from 'typebox';
import { parseDurationMs } from '../../shared/core/time.ts';
import type { App } from '../../shared/platform/http/app.ts';
import {
  PageQuerySchema,
  PolicyRevisionSchema,
  PublishAnswerSchema,
  PublishedPolicySchema,
  type PublishAnswer,
} from '../../shared/wire/control-api.ts';
import { POLICY_BYTES_MAX, PolicyDocumentSchema } from '../../shared/wire/policy-document.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { ROLLOUT_MODES, type RolloutMode } from '../../shared/wire/publication.ts';
import { NOTICES_HEADER, NOTICES_STATEMENT_HEADER } from '../../shared/wire/notices.ts';
import { STATEMENT_CONTENT_TYPE, SYNC_NOW_HEADER } from '../../shared/wire/statements.ts';
import type { ControlConfig } from '../config.ts';
import type { Precondition } from '../core/publication.ts';
import type { NoticeDesk } from '../notices/notice-desk.ts';
import type { BundleFeed } from '../policy/bundle-feed.ts';
import type { PolicyPublisher, SignedRevision } from '../policy/policy-publisher.ts';
import type { PublicationDesk } from '../policy/publication-desk.ts';
import { IMPACT_DECISIONS_MAX } from '../policy/publication-reporter.ts';
import type { RolloutDriver } from '../policy/rollout-driver.ts';
import type { SigningRing } from '../signing-ring.ts';
import type { PolicyStore } from '../store/control-store.ts';
import { actorOf, type Caller } from './access.ts';
import {
  PROBLEMS,
  STATEMENT,
  noBody,
  notFound,
  pageOf,
  pageRequest,
  parseRevisionTag,
  revisionTag,
} from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const COMMENT_LENGTH_MAX = 500;
const COMMENT_ENCODED = "UTF-8''";
/** Three bytes of UTF-8 for each UTF-16 unit, and three characters for each byte. */
const COMMENT_HEADER_LENGTH_MAX = COMMENT_ENCODED.length + 9 * COMMENT_LENGTH_MAX;

export function installPolicyRoutes(
  app: App,
  ports: { publications: PublicationDesk; store: PolicyStore },
): void {
  const { publications, store } = ports;
  installPolicyReading(app, store);
  app.put(
    '/v1/policy',
    {
      config: { access: { kind: 'operator', role: 'publisher' }, takesDocument: true },
      bodyLimit: POLICY_BYTES_MAX,
      // The gate judges the document; a body schema here could only say less about it.
      validatorCompiler: ({ httpPart, schema }) =>
        httpPart === 'body'
          ? () => true
          : (app.validatorCompiler?.({ httpPart, schema } as never) ?? (() => true)),
      schema: {
        summary: 'Publish a policy',
        description:
          'If-Match: the ETag of the revision it replaces; If-None-Match: * for the first. JSON or YAML.',
        headers: Type.Object({
          ...preconditionHeaders,
          'holdfast-comment': Type.Optional(
            Type.String({
              maxLength: COMMENT_HEADER_LENGTH_MAX,
              description: `why, kept with the revision: at most ${COMMENT_LENGTH_MAX} characters; what is not ASCII as ${COMMENT_ENCODED} and percent-encoded UTF-8`,
            }),
          ),
        }),
        querystring: Type.Object(
          {
            dryRun: Type.Optional(
              Type.Boolean({ description: 'check everything, publish nothing' }),
            ),
            ...publicationQuery,
          },
          { additionalProperties: false },
        ),
        body: PolicyDocumentSchema,
        response: { ...publicationAnswers, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { headers, query, rawBody, caller } = request;
      if (rawBody === null)
        throw new HoldfastError('invalid_request', 'the body is the policy; it is empty');
      const contentType = headers['content-type'] ?? '';
      const answer = await publications.publish({
        bytes: rawBody,
        format: contentType.toLowerCase().includes('yaml') ? 'yaml' : 'json',
        precondition: preconditionOf(headers),
        isDryRun: query.dryRun ?? false,
        comment: commentOf(headers['holdfast-comment']),
        actor: actorOf(caller),
        ...publicationOptions(query),
      });
      return sendPublication(reply, answer);
    },
  );
}

/** What a publication is asked and answered with, by whichever way it comes. */
export const preconditionHeaders = {
  'if-match': Type.Optional(Type.String({ maxLength: 100 })),
  'if-none-match': Type.Optional(Type.String({ maxLength: 100 })),
};

export const publicationAnswers = {
  200: PublishAnswerSchema,
  201: PublishAnswerSchema,
  202: PublishAnswerSchema,
};

export const publicationQuery = {
  rollout: Type.Optional(
    Type.Enum([...ROLLOUT_MODES], {
      description: 'to all hosts at once, or by stages; default as control is configured',
    }),
  ),
  impact: Type.Optional(
    Type.Boolean({ description: 'false: recent decisions are not replayed; default true' }),
  ),
  impactDecisions: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: IMPACT_DECISIONS_MAX,
      description: `how many of the newest are replayed; default ${IMPACT_DECISIONS_MAX}`,
    }),
  ),
};

export function publicationOptions(query: {
  rollout?: RolloutMode;
  impact?: boolean;
  impactDecisions?: number;
}) {
  const { rollout = null, impact = true, impactDecisions = IMPACT_DECISIONS_MAX } = query;
  return { rollout, impactDecisions: impact ? impactDecisions : 0 };
}

const STATUS_OF_OUTCOME = { published: 201, proposed: 202, unchanged: 200, valid: 200 } as const;

/** The tag is that of a revision that is in force; what only would be has none. */
export function sendPublication(
  reply: {
    header(name: string, value: string): unknown;
    code(status: 200 | 201 | 202): { send(answer: PublishAnswer): unknown };
  },
  answer: PublishAnswer,
): unknown {
  const { outcome, policyRevision } = answer;
  if (outcome === 'published' || outcome === 'unchanged')
    reply.header('etag', revisionTag(policyRevision));
  return reply.code(STATUS_OF_OUTCOME[outcome]).send(answer);
}

function installPolicyReading(app: App, store: PolicyStore): void {
  app.get(
    '/v1/policy',
    {
      config: viewer,
      schema: {
        summary: 'The policy in force',
        response: { 200: PublishedPolicySchema, ...PROBLEMS },
      },
    },
    async (_request, reply) => {
      const current = await store.current();
      if (current === null) throw notFound('policy yet: publish one with If-None-Match: *');
      const { bundle: _bundle, ...published } = current;
      return reply.header('etag', revisionTag(current.policyRevision)).send(published);
    },
  );
  app.get(
    '/v1/policy/revisions',
    {
      config: viewer,
      schema: {
        summary: 'All revisions, newest first',
        querystring: PageQuerySchema,
        response: { 200: pageOf(PolicyRevisionSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, nextCursor } = await store.list(pageRequest(request.query));
      return { items: [...items], nextCursor };
    },
  );
  app.get(
    '/v1/policy/revisions/:policyRevision',
    {
      config: viewer,
      schema: {
        summary: 'One revision with its document',
        params: Type.Object({ policyRevision: Type.Integer({ minimum: 1 }) }),
        response: { 200: PublishedPolicySchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const stored = await store.fetch(request.params.policyRevision);
      if (stored === null) throw notFound(`policy revision ${request.params.policyRevision}`);
      const { bundle: _bundle, ...published } = stored;
      return published;
    },
  );
}

/** As RFC 8187 writes it, or as it stands. */
function commentOf(header: string | undefined): string | null {
  if (header === undefined) return null;
  const path = 'headers:holdfast-comment';
  const refused = (message: string) =>
    new HoldfastError('invalid_request', `${path}: ${message}`, { errors: [{ path, message }] });
  let comment = header;
  if (header.startsWith(COMMENT_ENCODED)) {
    try {
      comment = decodeURIComponent(header.slice(COMMENT_ENCODED.length));
    } catch {
      throw refused('is not percent-encoded UTF-8');
    }
  }
  if (comment.length > COMMENT_LENGTH_MAX) {
    throw refused(`must not have more than ${COMMENT_LENGTH_MAX} characters`);
  }
  return comment;
}

export function preconditionOf(headers: {
  'if-match'?: string;
  'if-none-match'?: string;
}): Precondition {
  const { 'if-match': replaces, 'if-none-match': first } = headers;
  if (replaces !== undefined && first === undefined) {
    const policyRevision = parseRevisionTag(replaces);
    if (policyRevision !== null) return { kind: 'replaces', policyRevision };
    throw new HoldfastError(
      'precondition_required',
      `If-Match is ${replaces}: send the ETag of the revision that was read, as "7"`,
    );
  }
  if (replaces === undefined && first?.trim() === '*') return { kind: 'first' };
  throw new HoldfastError(
    'precondition_required',
    'send If-Match with the ETag of the revision that this one replaces, or If-None-Match: * for the first',
  );
}

export function installBundleRoutes(
  app: App,
  ports: {
    publisher: PolicyPublisher;
    driver: RolloutDriver;
    store: PolicyStore;
    feed: BundleFeed;
    noticeDesk: Pick<NoticeDesk, 'isBehind' | 'pushFor' | 'sequence'>;
    config: ControlConfig;
    signer: Pick<SigningRing, 'under'>;
  },
): void {
  const { publisher, driver, store, feed, config, noticeDesk, signer } = ports;
  const bundleFor = async (caller: Caller | null): Promise<SignedRevision | null> =>
    publisher.bundle(
      caller?.kind === 'host'
        ? await driver.target(caller.host.hostId)
        : await store.currentNumber(),
    );
  app.get(
    '/v1/bundle',
    {
      config: { access: { kind: 'host_or_operator', role: 'viewer' } },
      schema: {
        summary: 'The signed bundle; with `wait` and If-None-Match it waits for the next one',
        querystring: Type.Object(
          {
            wait: Type.Optional(Type.String({ maxLength: 20, description: 'a duration, as 30s' })),
            trusted: Type.Optional(TrustedSchema),
          },
          { additionalProperties: false },
        ),
        headers: Type.Object({ 'if-none-match': Type.Optional(Type.String({ maxLength: 100 })) }),
        response: {
          200: STATEMENT('a Bundle, signed; the same payload for everyone'),
          304: noBody('nothing newer than the ETag that was sent'),
          ...PROBLEMS,
        },
      },
    },
    async (request, reply) => {
      const waitMs = waitOf(request.query.wait, config.bundleWaitMaxMs);
      const held = request.headers['if-none-match']?.trim() ?? null;
      const mustWait = waitMs > 0;
      if (mustWait && feed.isFull) {
        throw new HoldfastError(
          'overloaded',
          'as many hosts wait for a bundle as this control serves',
          {
            retry_after_ms: config.bundleWaitMaxMs,
          },
        );
      }
      const host = request.caller?.kind === 'host' ? request.caller.host : null;
      // Before the store is read, so that a publication between the two wakes it.
      const waiting = mustWait
        ? feed.wait(waitMs, { hostId: host?.hostId ?? null, signal: request.signal })
        : null;
      try {
        let bundle = await bundleFor(request.caller);
        // Any other revision than the one held, also a lower one, or another document under its
        // number: what to make of that is for the host to judge.
        const isHeld = bundle === null ? held === null : bundleTag(bundle) === held;
        const isBehind = host !== null && noticeDesk.isBehind(host);
        if (isHeld && waiting !== null && !isBehind) {
          const isCalled = await waiting.woken;
          if (isCalled) void reply.header(SYNC_NOW_HEADER, '1');
          bundle = await bundleFor(request.caller);
        }
        void reply.header(NOTICES_HEADER, String(noticeDesk.sequence));
        const pushed = host === null ? null : await noticeDesk.pushFor(host);
        if (pushed !== null) void reply.header(NOTICES_STATEMENT_HEADER, pushed);
        if (bundle === null && held === null && feed.isClosed) {
          throw new HoldfastError('shutting_down', 'this control is stopping');
        }
        if (bundle === null) {
          throw new HoldfastError('policy_absent', 'no policy was ever published');
        }
        // While a revision is rolled out hosts are given different ones at one address.
        const caching = driver.underWay === null ? 'no-cache' : 'private, no-cache';
        void reply.header('etag', bundleTag(bundle)).header('cache-control', caching);
        if (bundleTag(bundle) === held) return await reply.code(304).send();
        const kids = request.query.trusted?.split(',');
        const statement =
          kids === undefined ? bundle.bytes : await signer.under(kids, bundle.bytes);
        return await reply.type(STATEMENT_CONTENT_TYPE).send(statement);
      } finally {
        waiting?.cancel();
      }
    },
  );
}

const TrustedSchema = Type.String({
  pattern: '^[A-Za-z0-9_-]{43}(,[A-Za-z0-9_-]{43}){0,7}$',
  description:
    'thumbprints of the keys by which the host knows control, where it is answered under another one: ' +
    'the bundle is then signed by one of them',
});

/** After a restored snapshot a number may have come to mean two documents; a tag does not. */
function bundleTag({ policyRevision, policyDigest }: SignedRevision): string {
  return `"${policyRevision}-${policyDigest.slice(0, 8)}"`;
}

function waitOf(text: string | undefined, maxMs: number): number {
  if (text === undefined) return 0;
  const waitMs = parseDurationMs(text);
  if (waitMs !== null) return Math.min(waitMs, maxMs);
  throw new HoldfastError('invalid_request', `query:wait: ${text} is not a duration`, {
    errors: [{ path: 'query:wait', message: 'must be a duration with a unit, as 30s' }],
  });
}
