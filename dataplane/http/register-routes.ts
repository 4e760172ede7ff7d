/** Registers: read by version, written under a fencing token. Each app has its own. */
import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import {
  FENCING_TOKEN_HEADER,
  REGISTER_VALUE_BYTES_MAX,
  RegisterKeySchema,
  RegisterWriteSchema,
  RegistersQuerySchema,
  parseFencingToken,
  type FencingToken,
  type Register,
} from '../../shared/wire/register-api.ts';
import type { StoredRegister } from '../core/register.ts';
import { callerOf } from './guards.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

const keyParams = Type.Object({ key: RegisterKeySchema });
/** JSON may escape each byte of a value as six. */
const BODY_BYTES_MAX = 6 * REGISTER_VALUE_BYTES_MAX + 1_024;
const PAGE = 100;

export function installRegisterRoutes(app: App, { registers }: Parts): void {
  app.get(
    '/v1/registers',
    {
      schema: {
        summary: 'Registers of the calling app, without their values',
        querystring: RegistersQuerySchema,
        response: {
          200: Type.Object({
            items: Type.Array(Type.Ref('RegisterSummary')),
            nextCursor: Type.Union([Type.String(), Type.Null()]),
          }),
          ...problems(400, 401),
        },
      },
    },
    async (request) => {
      const { limit = PAGE, cursor = '' } = request.query;
      const page = { afterKey: cursor, limit: limit + 1 };
      const found = registers.list(callerOf(request).name, page);
      const items = found.slice(0, limit).map(({ value, ...rest }) => {
        return { ...rest, valueBytes: Buffer.byteLength(value) };
      });
      return { items, nextCursor: found.length > limit ? (items.at(-1)?.key ?? null) : null };
    },
  );

  app.get(
    '/v1/registers/:key',
    {
      schema: {
        summary: 'A register; its ETag is what a write must name',
        params: keyParams,
        response: { 200: Type.Ref('Register'), ...problems(400, 401, 404) },
      },
    },
    async (request, reply) => {
      const { key } = request.params;
      const register = registers.find(callerOf(request).name, key);
      if (register === null)
        throw new HoldfastError('register_not_found', `there is no register ${key} of this app`);
      void reply.header('etag', `"${register.version}"`);
      return viewOf(register);
    },
  );

  app.put(
    '/v1/registers/:key',
    {
      bodyLimit: BODY_BYTES_MAX,
      schema: {
        summary:
          'Make a register (If-None-Match: *) or replace it (If-Match), under a fencing token',
        params: keyParams,
        body: RegisterWriteSchema,
        response: {
          200: Type.Ref('Register'),
          201: Type.Ref('Register'),
          ...problems(400, 401, 404, 409, 412, 413, 422, 428, 503, 507),
        },
      },
    },
    async (request, reply) => {
      const { key } = request.params;
      const replaces = readPrecondition(request, key);
      const token = readToken(request, key);
      const valueText = JSON.stringify(request.body.value ?? null);
      const bytes = Buffer.byteLength(valueText);
      if (bytes > REGISTER_VALUE_BYTES_MAX)
        throw new HoldfastError(
          'body_too_large',
          `the value of register ${key} is ${bytes} bytes and may be ${REGISTER_VALUE_BYTES_MAX}: keep it elsewhere, and where it is here`,
        );
      const caller = callerOf(request).name;
      const register = await registers.write({ app: caller, key, valueText, replaces, ...token });
      void reply.code(replaces === null ? 201 : 200).header('etag', `"${register.version}"`);
      return viewOf(register);
    },
  );

  app.delete(
    '/v1/registers/:key',
    {
      schema: {
        summary: 'Delete a register (If-Match), under a fencing token',
        params: keyParams,
        response: { 204: Type.Null(), ...problems(400, 401, 404, 409, 412, 422, 428, 503) },
      },
    },
    async (request, reply) => {
      const { key } = request.params;
      const replaces = readPrecondition(request, key);
      const token = readToken(request, key);
      const caller = callerOf(request).name;
      await registers.write({ app: caller, key, valueText: null, replaces, ...token });
      return reply.code(204).send(null);
    },
  );
}

function viewOf({ value, ...rest }: StoredRegister): Register {
  return { ...rest, value: JSON.parse(value) as unknown };
}

/** The version that is replaced; `null` for a register that must not be there. */
function readPrecondition({ headers }: FastifyRequest, key: string): number | null {
  const ifMatch = headers['if-match'];
  const ifNoneMatch = headers['if-none-match'];
  if (ifMatch === undefined && ifNoneMatch === undefined)
    throw new HoldfastError(
      'precondition_required',
      `send If-None-Match: * to make register ${key}, or If-Match: "<version>" with the ETag that you have read`,
    );
  if (ifMatch === undefined && ifNoneMatch === '*') return null;
  const version = ifNoneMatch === undefined ? /^"(\d{1,15})"$/.exec(ifMatch ?? '')?.[1] : undefined;
  if (version !== undefined) return Number(version);
  throw new HoldfastError(
    'invalid_request',
    'send one of If-None-Match: * and If-Match: "<version>", the ETag as it came',
    { errors: [{ path: 'header:if-match', message: 'must be one ETag of this register' }] },
  );
}

function readToken({ headers }: FastifyRequest, key: string): FencingToken {
  const text = headers[FENCING_TOKEN_HEADER];
  if (text === undefined)
    throw new HoldfastError(
      'fencing_token_required',
      `send Holdfast-Fencing-Token: <resource>:<epoch>: without one nobody can say whether who writes register ${key} is a stale owner`,
    );
  const token = parseFencingToken(String(text));
  if (token !== null) return token;
  throw new HoldfastError(
    'invalid_request',
    `Holdfast-Fencing-Token is ${String(text).slice(0, 100)}: write <resource>:<epoch>, as orders/7:42`,
    { errors: [{ path: 'header:holdfast-fencing-token', message: 'must be <resource>:<epoch>' }] },
  );
}
