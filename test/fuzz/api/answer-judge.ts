/**
 * What an answer must be, whatever was asked.
 *
 * J1  An error is a problem document whose code is in the table, under the status of its code; never
 *     `internal`.
 * J2  An answer to a route of the description has the shape that the description gives its status.
 * J3  Every request that was whole has an answer, or its connection is closed; within a bound.
 */
import { ERRORS, PROBLEM_CONTENT_TYPE, type ErrorCode } from '../../../shared/wire/problem.ts';
import type { Description } from './description.ts';
import type { WireAnswer, WireEnd } from './wire-client.ts';

export type Judged = {
  readonly method: string;
  /** As it stands in the request line. */
  readonly target: string;
};

export type Verdict =
  | { readonly kind: 'right' }
  | { readonly kind: 'wrong'; readonly what: string; readonly detail: string };

const RIGHT: Verdict = { kind: 'right' };

export function judgeEnd(description: Description, asked: Judged, end: WireEnd): Verdict {
  switch (end.kind) {
    case 'closed':
      return RIGHT;
    case 'silence':
      return wrong('no answer', `${asked.method} ${asked.target}: nothing in ${end.afterMs} ms`);
    case 'garbage':
      return wrong('no HTTP', `${asked.method} ${asked.target}: ${end.detail}`);
    case 'answer':
      return judgeAnswer(description, asked, end.answer);
  }
}

function judgeAnswer(description: Description, asked: Judged, answer: WireAnswer): Verdict {
  const { status, body, headers } = answer;
  const type = headers.get('content-type') ?? '';
  const about = `${asked.method} ${asked.target.slice(0, 200)}: ${status} ${body.slice(0, 300)}`;
  if (status >= 400) {
    const problem = asked.method === 'HEAD' ? null : problemOf(answer);
    if (typeof problem === 'string')
      return wrong('an error that is no problem', `${problem}: ${about}`);
  }
  if (asked.method === 'OPTIONS' || asked.method === 'CONNECT') return RIGHT;
  const path = pathIn(asked.target);
  const fit = description.fit({ method: asked.method, path }, { status, type, body });
  if (fit.kind === 'misfit') return wrong('not as described', `${fit.detail}: ${about}`);
  if (fit.kind === 'undescribed') return wrong('not described', `${fit.detail}: ${about}`);
  // It does not describe itself; and what is served nowhere may be refused, and no more.
  if (fit.kind === 'no route' && status < 400 && path !== '/openapi.json')
    return wrong('not described', about);
  return RIGHT;
}

/** What is wrong with it, or `null`. */
function problemOf({ status, headers, body }: WireAnswer): string | null {
  const type = headers.get('content-type') ?? '(none)';
  if (!type.startsWith(PROBLEM_CONTENT_TYPE)) return `an error as ${type}`;
  let problem: { readonly code?: unknown; readonly status?: unknown };
  try {
    problem = JSON.parse(body) as typeof problem;
  } catch {
    return 'a problem that is not JSON';
  }
  const code = String(problem.code);
  if (!Object.hasOwn(ERRORS, code)) return `the code ${code} is not in the table`;
  const row = ERRORS[code as ErrorCode];
  if (row.status !== status || problem.status !== status) return `${code} under ${status}`;
  return code === 'internal' ? 'a failure without a cause of its own' : null;
}

/** Of a request line, which may name a whole URL. */
function pathIn(target: string): string {
  const [path = ''] = target.replace(/^https?:\/\/[^/]*/i, '').split(/[?#]/, 1);
  return path;
}

function wrong(what: string, detail: string): Verdict {
  return { kind: 'wrong', what, detail };
}
