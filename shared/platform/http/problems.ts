/**
 * The only place where an error becomes a status code: every failure leaves as an RFC 9457
 * document.
 */
import type {
  FastifyError,
  FastifyReply,
  FastifyRequest,
  FastifySchemaValidationError,
} from 'fastify';
import {
  HoldfastError,
  PROBLEM_CONTENT_TYPE,
  toProblem,
  type ErrorCode,
} from '../../wire/problem.ts';
import type { App } from './app.ts';
import { rateLimitFields } from './rate-limit-fields.ts';

/** What Fastify itself refuses, in our codes. */
const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_BAD_URL: 'invalid_request',
  FST_ERR_MAX_PARAM_LENGTH: 'invalid_request',
};

export function installProblems(app: App): void {
  const routes: { readonly method: string; readonly path: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = pathPattern(url);
    for (const one of [method].flat()) if (one !== 'HEAD') routes.push({ method: one, path });
  });
  app.setErrorHandler((error: FastifyError, request, reply) =>
    send(reply, asHoldfastError(error, request)),
  );
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const allowed = routes
      .filter((route) => route.path.test(path))
      .map(({ method }) => method)
      .toSorted((a, b) => a.localeCompare(b));
    const error =
      allowed.length > 0
        ? new HoldfastError(
            'method_not_allowed',
            `${request.method} is not served at ${path}; use ${allowed.join(', ')}`,
          )
        : new HoldfastError(
            'not_found',
            `there is nothing at ${request.method} ${path}; /openapi.json lists what there is`,
          );
    if (allowed.length > 0) void reply.header('allow', allowed.join(', '));
    send(reply, error);
  });
}

/** `/v1/leases/:resource([^:]+)::release` -> what matches `/v1/leases/orders%2F7:release`. */
function pathPattern(url: string): RegExp {
  const parts = url
    .split(/(?<!:):(?!:)\w+(?:\([^)]*\))?/)
    .map((part) => part.replaceAll('::', ':'));
  const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${parts.map(literal).join('[^/]+')}$`);
}

/** What fails before any route is known: a URL that cannot be decoded, a name that is too long. */
export function sendFrameworkError(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  send(reply, asHoldfastError(error, request));
}

function send(reply: FastifyReply, error: HoldfastError): void {
  const problem = toProblem(error);
  if (problem.retry_after_ms !== undefined)
    void reply.header('retry-after', Math.max(1, Math.ceil(problem.retry_after_ms / 1_000)));
  if (problem.limit !== undefined) void reply.headers(rateLimitFields(problem.limit));
  if (error.code === 'unauthenticated') void reply.header('www-authenticate', 'Bearer');
  void reply
    .code(problem.status)
    .header('content-type', PROBLEM_CONTENT_TYPE)
    .serializer(JSON.stringify)
    .send(problem);
}

function asHoldfastError(error: FastifyError, request: FastifyRequest): HoldfastError {
  if (error instanceof HoldfastError) return error;
  if (error.validation) return fromValidation(error.validation, error.validationContext ?? 'body');
  const known = FASTIFY_CODES[error.code];
  if (known !== undefined)
    return new HoldfastError(known, detailOf(known, error, request), { cause: error });
  if (error instanceof SyntaxError || (error.statusCode ?? 500) === 400) {
    return new HoldfastError(
      'invalid_json',
      `the body is not JSON that can be accepted: ${error.message}`,
      { cause: error },
    );
  }
  request.log.error({ err: error }, 'request failed');
  return new HoldfastError(
    'internal',
    `the request failed inside the daemon; its log has the cause under request id ${request.id}`,
    { cause: error },
  );
}

function detailOf(code: ErrorCode, error: FastifyError, request: FastifyRequest): string {
  if (code === 'unsupported_media_type') {
    return `content type ${request.headers['content-type'] ?? '(none)'} is not accepted here: send application/json`;
  }
  if (code === 'body_too_large')
    return `the body is larger than this route accepts: ${error.message}`;
  return error.message;
}

function fromValidation(
  validation: readonly FastifySchemaValidationError[],
  context: string,
): HoldfastError {
  const errors = validation.map(({ keyword, instancePath, message, params }) => {
    const base =
      context === 'body'
        ? instancePath
        : `${context === 'querystring' ? 'query' : context}:${instancePath.slice(1)}`;
    if (keyword === 'additionalProperties') {
      return { path: `${base}/${String(params['additionalProperty'])}`, message: 'unknown field' };
    }
    if (keyword === 'required')
      return { path: `${base}/${String(params['missingProperty'])}`, message: 'is required' };
    if (keyword === 'enum')
      return {
        path: base,
        message: `must be one of ${(params['allowedValues'] as unknown[]).join(', ')}`,
      };
    return { path: base, message: message ?? keyword };
  });
  const first = errors[0];
  return new HoldfastError(
    'invalid_request',
    first ? `${first.path || '/'}: ${first.message}` : 'the request does not fit its schema',
    { errors },
  );
}
