/**
 * Bodies with their exact bytes. The token of a host is bound to the bytes it sent, and a policy is
 * judged as it was written; both need what came, not what a parser made of it.
 */
import { jsonTextProblem } from '../../shared/platform/http/json-text.ts';
import type { App } from '../../shared/platform/http/app.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';

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
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      done(new HoldfastError('invalid_json', 'the body is not UTF-8'), undefined);
      return;
    }
    const problem = jsonTextProblem(text);
    if (problem !== null) done(new HoldfastError('invalid_json', problem), undefined);
    else void parseJson(request, text, done);
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
