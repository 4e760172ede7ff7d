/**
 * Bodies with their exact bytes. The token of a host is bound to the bytes it sent, and a policy is
 * judged as it was written; both need what came, not what a parser made of it.
 */
import { jsonTextProblem } from '../../shared/platform/http/json-text.ts';
import type { App } from '../../shared/platform/http/app.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { REPORT_LINES_TYPE } from '../../shared/wire/report-lines.ts';

/** A body that an app made is further down in a report than in its own request. */
const REPORT_NESTING_MAX = 76;

export function installRawBody(app: App): void {
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    request.rawBody = bytes;
    if (request.routeOptions.config.takesDocument === true) {
      done(null, bytes);
      return;
    }
    const text = textOf(bytes);
    if (text === null) {
      done(new HoldfastError('invalid_json', 'the body is not UTF-8'), undefined);
      return;
    }
    const isReport = request.routeOptions.config.takesLines === true;
    const problem = isReport ? jsonTextProblem(text, REPORT_NESTING_MAX) : jsonTextProblem(text);
    if (problem !== null) done(new HoldfastError('invalid_json', problem), undefined);
    else void parseJson(request, text, done);
  });
  // As text: what the lines say is for the route to read, and each body for its own entry.
  app.addContentTypeParser(REPORT_LINES_TYPE, { parseAs: 'buffer' }, (request, body, done) => {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    request.rawBody = bytes;
    if (request.routeOptions.config.takesLines !== true) {
      const way = 'lines are taken for reports only: send application/json';
      done(new HoldfastError('unsupported_media_type', way));
      return;
    }
    const text = textOf(bytes);
    if (text !== null) done(null, text);
    else done(new HoldfastError('invalid_request', 'the body is not UTF-8'));
  });
  app.addContentTypeParser('application/yaml', { parseAs: 'buffer' }, (request, body, done) => {
    if (request.routeOptions.config.takesDocument !== true) {
      done(
        new HoldfastError(
          'unsupported_media_type',
          'YAML is taken for policies only: send application/json',
        ),
      );
      return;
    }
    request.rawBody = typeof body === 'string' ? Buffer.from(body) : body;
    done(null, request.rawBody);
  });
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
