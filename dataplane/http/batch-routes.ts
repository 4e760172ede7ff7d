/**
 * Many admissions in one request: each is judged and recorded by itself, and each has a verdict of
 * its own. They reach the journal together, so that one commit carries them all.
 */
import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import type { App } from '../../shared/platform/http/app.ts';
import { jsonTextProblem } from '../../shared/platform/http/json-text.ts';
import type { AdmitRequest } from '../../shared/wire/operation.ts';
import { HoldfastError, toProblem } from '../../shared/wire/problem.ts';
import {
  BATCH_ITEMS_MAX,
  BatchItemSchema,
  type BatchItem,
  type BatchVerdict,
} from '../../shared/wire/sidecar-api.ts';
import { admissionStatus, type Admitted } from '../operations/admissions.ts';
import { requireMaySpeakFor, type App as CallingApp } from './app-tokens.ts';
import { callerOf } from './guards.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

const NDJSON = 'application/x-ndjson';
const BATCH_BYTES_MAX = 16 * 1024 * 1024;
/** As for one admission by itself. */
const ITEM_BYTES_MAX = 64 * 1024;
/** Of one batch: enough for a commit, and what is in the making is a part of the batch. */
const ITEMS_AT_ONCE = 128;

const itemChecker = Compile(BatchItemSchema);
/** Has no form of its own: what is not an item gets a verdict that says so. */
const BatchSchema = Type.Array(Type.Unknown(), {
  minItems: 1,
  maxItems: BATCH_ITEMS_MAX,
  description: 'each a BatchItem; as NDJSON, one on each line',
});

/** A line that is no JSON, or an item that is too large: its neighbours are not to suffer for it. */
class UnreadableItem {
  readonly error: HoldfastError;

  constructor(error: HoldfastError) {
    this.error = error;
  }
}

export function installBatchRoutes(app: App, { admissions }: Parts): void {
  void app.register(async (scope) => {
    const routes = scope as unknown as App;
    parseNdjson(routes);
    routes.post(
      '/v1/operations::batch',
      {
        bodyLimit: BATCH_BYTES_MAX,
        schema: {
          summary: 'Admit many operations, each with its own verdict',
          description:
            'Every accepted one is durable before the answer. Verdicts are in the order of the items; a batch sent again replays what was recorded. NDJSON is answered with NDJSON.',
          consumes: ['application/json', NDJSON],
          body: BatchSchema,
          response: {
            200: {
              content: {
                'application/json': { schema: Type.Ref('BatchVerdicts') },
                [NDJSON]: { schema: Type.String({ description: 'a BatchVerdict on each line' }) },
              },
            },
            ...problems(400, 401, 413, 415, 503),
          },
        },
      },
      async (request, reply) => {
        const caller = callerOf(request);
        const { body } = request;
        if (!isNdjson(request))
          return { items: await inOrder(body, (item, at) => judge(boundedItem(item), at, caller)) };
        const verdicts = await inOrder(body, (line, at) =>
          judge(itemOfLine(String(line), request), at, caller),
        );
        const lines = verdicts.map((verdict) => `${JSON.stringify(verdict)}\n`).join('');
        return reply.header('content-type', NDJSON).serializer(String).send(lines);
      },
    );

    const parseJson = routes.getDefaultJsonParser('error', 'error');
    function itemOfLine(line: string, request: FastifyRequest): unknown {
      if (line.length > ITEM_BYTES_MAX) return tooLarge();
      const problem = jsonTextProblem(line);
      if (problem !== null) return new UnreadableItem(new HoldfastError('invalid_json', problem));
      let item: unknown;
      void parseJson(request, line, (error, value) => {
        item = error === null ? value : unreadable(error);
      });
      return item;
    }
  });

  async function judge(item: unknown, index: number, caller: CallingApp): Promise<BatchVerdict> {
    let idempotencyKey: string | null = null;
    try {
      const { idempotencyKey: key, ...request } = checkItem(item);
      idempotencyKey = key;
      return accepted(index, await admitAs(caller, key, request));
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const problem = toProblem(error);
      const { status } = problem;
      return { index, status, idempotencyKey, operationId: problem.operationId ?? null, problem };
    }
  }

  function admitAs(
    caller: CallingApp,
    idempotencyKey: string,
    request: AdmitRequest,
  ): Promise<Admitted> {
    requireMaySpeakFor(caller, request.principal);
    return admissions.admit({ app: caller.name, idempotencyKey }, request);
  }
}

/** Begun in the order of the items, `ITEMS_AT_ONCE` at a time. */
async function inOrder<T>(
  items: readonly unknown[],
  answer: (item: unknown, index: number) => Promise<T>,
): Promise<T[]> {
  const answers: T[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) answers[at] = await answer(items[at], at);
  };
  await Promise.all(Array.from({ length: Math.min(ITEMS_AT_ONCE, items.length) }, lane));
  return answers;
}

function accepted(index: number, { operation, replayed }: Admitted): BatchVerdict {
  return {
    index,
    status: admissionStatus({ operation, replayed }),
    idempotencyKey: operation.idempotencyKey,
    operationId: operation.operationId,
    replayed,
    state: operation.state,
    policyRevision: operation.policyRevision,
    rule: operation.rule,
    basis: operation.basis,
    leaseEpoch: operation.leaseEpoch,
    deadlineAtMs: operation.deadlineAtMs,
  };
}

/** Throws what is wrong with the item. */
function checkItem(item: unknown): BatchItem {
  if (item instanceof UnreadableItem) throw item.error;
  if (!itemChecker.Check(item)) {
    const errors = itemChecker
      .Errors(item)
      .map(({ instancePath, message }) => ({ path: instancePath || '/', message }));
    const [first] = errors;
    const detail = `${first?.path ?? '/'}: ${first?.message ?? 'does not fit'}`;
    throw new HoldfastError('invalid_request', detail, { errors });
  }
  return item;
}

function boundedItem(item: unknown): unknown {
  return JSON.stringify(item).length > ITEM_BYTES_MAX ? tooLarge() : item;
}

function tooLarge(): UnreadableItem {
  const detail = `an operation may have ${ITEM_BYTES_MAX} bytes: keep what is larger elsewhere, and name it here`;
  return new UnreadableItem(new HoldfastError('body_too_large', detail));
}

function isNdjson(request: FastifyRequest): boolean {
  return request.headers['content-type']?.startsWith(NDJSON) === true;
}

/** Into its lines, of which each is parsed when its turn comes. */
function parseNdjson(routes: App): void {
  routes.addContentTypeParser(NDJSON, { parseAs: 'string' }, (_request, body, done) => {
    const lines = body
      .toString()
      .split('\n')
      .filter((line) => line.trim() !== '');
    // Before any of them is parsed: the bound is for the work, too.
    if (lines.length > BATCH_ITEMS_MAX) {
      const detail = `a batch may have ${BATCH_ITEMS_MAX} lines and this has ${lines.length}: send several`;
      return done(new HoldfastError('invalid_request', detail));
    }
    done(null, lines);
  });
}

function unreadable(error: Error): UnreadableItem {
  const detail = `the line is not JSON that can be accepted: ${error.message}`;
  return new UnreadableItem(new HoldfastError('invalid_json', detail));
}
