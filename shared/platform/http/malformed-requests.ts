/**
 * What is refused before it is a request: bytes that are no HTTP, a head that is too large, a body that
 * does not come in time, a request without a Host, an `Expect` that nobody can meet. Node answers these by
 * itself and without a problem document.
 *
 * M1  Every answer to them is a problem document with a code.
 * M2  Nobody is told of an error that came after their request: where a whole request waits for its answer
 *     the connection is cut instead, and whoever sent it knows that the outcome is unknown (I1).
 */
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { HoldfastError, PROBLEM_CONTENT_TYPE, toProblem } from '../../wire/problem.ts';
import type { App } from './app.ts';

type ClientError = Error & { readonly code?: string; readonly reason?: string };

/** Fastify's `clientErrorHandler`. */
export function answerClientError(error: ClientError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (socket.writable && !isAnswering(socket)) socket.write(answerText(asHoldfastError(error)));
  socket.destroy();
}

/** The rest of M1: what the parser takes and Node would answer. */
export function installMalformedRequests(app: App): void {
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    const detail = `Expect: ${request.headers.expect ?? ''} cannot be met: send 100-continue, or none`;
    const problem = toProblem(new HoldfastError('expectation_failed', detail));
    const body = JSON.stringify(problem);
    const headers = {
      'content-type': PROBLEM_CONTENT_TYPE,
      'content-length': Buffer.byteLength(body),
      connection: 'close',
    };
    response.writeHead(problem.status, headers).end(body);
  });
  app.addHook('onRequest', (request, _reply, done) => {
    const isMissing = request.headers.host === undefined && request.raw.httpVersion !== '1.0';
    if (isMissing)
      done(new HoldfastError('invalid_request', 'header:host: is required by HTTP/1.1'));
    else done();
  });
}

/** M2: of Node's own, which it looks at for the same reason. */
function isAnswering(socket: Socket): boolean {
  const response = Reflect.get(socket, '_httpMessage') as ServerResponse | null | undefined;
  if (response === null || response === undefined) return false;
  return response.headersSent || response.req.complete;
}

function asHoldfastError(error: ClientError): HoldfastError {
  switch (error.code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new HoldfastError(
        'request_timeout',
        'the request did not come whole in the time that it may take: send it again',
      );
    case 'HPE_HEADER_OVERFLOW':
      return new HoldfastError(
        'headers_too_large',
        'the request line and the headers are larger together than is taken: send fewer or shorter ones',
      );
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new HoldfastError('body_too_large', 'the chunks of the body say too much besides it');
    default:
      return new HoldfastError(
        'invalid_request',
        `what came is not HTTP/1.1 that can be read: ${error.reason ?? error.message}`,
      );
  }
}

function answerText(error: HoldfastError): string {
  const problem = toProblem(error);
  const body = JSON.stringify(problem);
  return [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? 'Error'}`,
    `Content-Type: ${PROBLEM_CONTENT_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}
