import { CommanderError } from 'commander';
import { describe, expect, test } from 'vitest';
import { CommandError, EXIT, failureOf } from '../../../control/cli/failures.ts';
import { ProblemError, UnreachableError, type ErrorCode } from '../../../shared/client/index.ts';
import { ERRORS } from '../../../shared/wire/problem.ts';

function problemError(code: ErrorCode): ProblemError {
  const { status, title, retryable } = ERRORS[code];
  return new ProblemError({
    type: `urn:holdfast:problem:${code}`,
    title,
    status,
    detail: `about ${code}`,
    code,
    retryable,
  });
}

describe('exit codes', () => {
  const cases: [ErrorCode, number][] = [
    ['invalid_request', EXIT.failure],
    ['policy_invalid', EXIT.failure],
    ['deadline_passed', EXIT.failure],
    ['internal', EXIT.failure],
    ['not_found', EXIT.notFound],
    ['operation_not_found', EXIT.notFound],
    ['unauthenticated', EXIT.denied],
    ['forbidden', EXIT.denied],
    ['denied', EXIT.denied],
    ['revision_conflict', EXIT.conflict],
    ['stale_owner', EXIT.conflict],
    ['precondition_required', EXIT.conflict],
    ['operation_settled', EXIT.conflict],
    ['control_unreachable', EXIT.unavailable],
    ['journal_full', EXIT.unavailable],
  ];
  test.each(cases)('%s ends with %i', (code, exitCode) => {
    expect(failureOf(problemError(code))).toMatchObject({
      code,
      exitCode,
      detail: `about ${code}`,
    });
  });

  test('silence is unavailable, and a timeout warns that it may have been done', () => {
    expect(failureOf(new UnreachableError('refused', 'nobody there'))).toMatchObject({
      code: 'unreachable',
      exitCode: EXIT.unavailable,
      retryable: true,
    });
    const timeout = failureOf(new UnreachableError('timeout', 'no answer'));
    expect(timeout).toMatchObject({ code: 'timeout', exitCode: EXIT.unavailable });
    expect(timeout.hint).toContain('may have been done');
  });

  test('wrong usage is 2, with the suggestion on the same line', () => {
    const failure = failureOf(
      new CommanderError(
        1,
        'commander.unknownCommand',
        "error: unknown command 'stat'\n(Did you mean status?)",
      ),
    );

    expect(failure).toMatchObject({
      code: 'usage',
      exitCode: EXIT.usage,
      detail: "unknown command 'stat' (Did you mean status?)",
    });
  });

  test('a failure of the command itself keeps its own', () => {
    const error = new CommandError('port_in_use', 'port 1 is in use', {
      exitCode: EXIT.failure,
      hint: 'another',
    });

    expect(failureOf(error)).toMatchObject({
      code: 'port_in_use',
      exitCode: 1,
      hint: 'another',
      stack: null,
    });
  });

  test('a fault is told with its stack', () => {
    expect(failureOf(new TypeError('oops'))).toMatchObject({
      code: 'internal',
      exitCode: 1,
      stack: expect.stringContaining('TypeError') as string,
    });
  });
});

test('places and the time to wait come along', () => {
  const errors = [{ path: '/rules/0', message: 'is wrong' }];
  const failure = failureOf(
    new ProblemError({ ...problemError('policy_invalid').problem, errors, retry_after_ms: 300 }),
  );

  expect(failure).toMatchObject({ errors, retryAfterMs: 300 });
  expect(failure.hint).toContain('holdfast policy validate');
});
