/**
 * How a run of the command fails: an exit code that scripts can tell apart, one line for people,
 * the places where it is wrong, and the way out.
 */
import { CommanderError } from 'commander';
import { ProblemError, UnreachableError } from '../../shared/client/index.ts';

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  conflict: 5,
  unavailable: 6,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export type Place = {
  /** A JSON Pointer. */
  readonly path: string;
  readonly message: string;
  /** Where it is in a file of this machine, counted from 1. */
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
};

/** One line, in the form that editors and CI systems know: `FILE:LINE:COL: /path: message`. */
export function placeText({ file, line, column, path, message }: Place): string {
  const position = line === undefined ? [] : [String(line), String(column ?? 1)];
  const where = file === undefined ? [] : [[file, ...position].join(':')];
  return [...where, ...(path === '' ? [] : [path]), message].join(': ');
}

/** A failure found by the command itself. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly exitCode: ExitCode;
  readonly code: string;
  readonly errors: readonly Place[];
  readonly hint: string | null;

  constructor(
    code: string,
    detail: string,
    options: {
      readonly exitCode?: ExitCode;
      readonly errors?: readonly Place[];
      readonly hint?: string;
      readonly cause?: unknown;
    } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.exitCode = options.exitCode ?? EXIT.failure;
    this.errors = options.errors ?? [];
    this.hint = options.hint ?? null;
  }
}

/** What was printed says it already: a program that was run, or a comparison that found something. */
export class ProgramEnded extends Error {
  override name = 'ProgramEnded';
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode) {
    super(`the program ended with exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

export const usageError = (detail: string): CommandError =>
  new CommandError('usage', detail, { exitCode: EXIT.usage });

/** What is printed: as lines, or under `-o json` as one object. */
export type Failure = {
  readonly exitCode: ExitCode;
  readonly code: string;
  readonly detail: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | null;
  readonly errors: readonly Place[];
  readonly hint: string | null;
  /** Of a fault in the command itself. */
  readonly stack: string | null;
};

export function failureOf(error: unknown): Failure {
  const quiet = { retryable: false, retryAfterMs: null, errors: [], hint: null, stack: null };
  if (error instanceof CommandError) {
    const { exitCode, code, message: detail, errors, hint } = error;
    return { ...quiet, exitCode, code, detail, errors, hint };
  }
  if (error instanceof ProblemError) {
    const { code, retryable, retryAfterMs, problem } = error;
    const detail = withCommands(error.message);
    const exitCode = exitCodeOf(error);
    const hint = HINTS[code] ?? null;
    return {
      ...quiet,
      exitCode,
      code,
      detail,
      retryable,
      retryAfterMs,
      errors: problem.errors ?? [],
      hint,
    };
  }
  if (error instanceof UnreachableError) {
    const code = error.kind === 'timeout' ? 'timeout' : 'unreachable';
    const hint =
      code === 'timeout'
        ? 'it may have been done all the same: look before you repeat it; --timeout waits longer'
        : 'is it running, and is that its address? `holdfast dev` starts both daemons here';
    return {
      ...quiet,
      exitCode: EXIT.unavailable,
      code,
      detail: error.message,
      retryable: true,
      hint,
    };
  }
  if (error instanceof CommanderError) {
    const detail = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
    return { ...quiet, exitCode: EXIT.usage, code: 'usage', detail, hint: 'see --help' };
  }
  const stack = error instanceof Error ? (error.stack ?? null) : null;
  const detail = error instanceof Error ? error.message : String(error);
  return { ...quiet, exitCode: EXIT.failure, code: 'internal', detail, stack };
}

/** The daemons name requests, which is not what one types here. */
function withCommands(detail: string): string {
  return detail
    .replaceAll('GET /v1/policy/proposals', '`holdfast policy proposals`')
    .replaceAll('GET /v1/policy/revisions', '`holdfast policy history`')
    .replaceAll('GET /v1/config', '`holdfast config list`')
    .replaceAll('GET /v1/placement/groups', '`holdfast placement group list`')
    .replaceAll('GET /v1/leases', '`holdfast lease list --from control`')
    .replaceAll('GET /v1/outages', '`holdfast outages`')
    .replaceAll('GET /v1/hosts', '`holdfast host list`');
}

function exitCodeOf({ status }: ProblemError): ExitCode {
  if (status === 404) return EXIT.notFound;
  if (status === 401 || status === 403) return EXIT.denied;
  if (status === 409 || status === 412 || status === 428) return EXIT.conflict;
  if (status === 429 || status === 502 || status === 503 || status === 504 || status === 507) {
    return EXIT.unavailable;
  }
  return EXIT.failure;
}

/** The way out, for the codes where the command knows one. */
const HINTS: Readonly<Record<string, string>> = {
  unauthenticated:
    'name the file of your token with --control-token-file or --sidecar-token-file, or in the environment',
  forbidden:
    'it takes another operator, or a role that an admin gives: `holdfast operator list` shows who is who',
  revision_conflict: 'read what is in force with `holdfast policy get`, merge, and apply again',
  precondition_required: 'say which revision it replaces with --if-revision',
  policy_invalid: 'mend what is listed and check it offline with `holdfast policy validate FILE`',
  invalid_yaml: 'check it offline with `holdfast policy validate FILE`',
  invalid_json: 'check it offline with `holdfast policy validate FILE`',
  operation_not_found:
    '`holdfast op list` lists what this sidecar has; `--from control` asks for all hosts',
  operation_not_unknown: '`holdfast op show ID` shows how it ended',
  reconciliation_claimed: '`holdfast reconcile show ID` shows who holds it, and until when',
  probe_undeclared:
    '`holdfast reconcile show ID` shows what its rule says; settle it with `holdfast reconcile resolve ID`',
  probe_not_allowed: 'the operator of the sidecar allows it with --probe-targets HOST:PORT',
  control_unreachable:
    '`holdfast outage-budget` shows what goes on without control, and for how long',
  policy_absent: 'publish one with `holdfast policy apply FILE`',
  policy_expired: '`holdfast status` shows since when control is out of reach',
  lease_absent:
    '`holdfast lease acquire RESOURCE` asks for it, `holdfast lease list` shows who has it',
  lease_expired: '`holdfast lease list` shows who has it now',
  operation_awaiting_approval: '`holdfast approval list --state pending` shows who is asked',
  approval_settled: '`holdfast approval show ID` shows how it ended',
  approval_changed: 'look again with `holdfast approval show ID`',
  journal_full: 'make room on the disk of the sidecar: accepted work goes on, new work waits',
  outcome_unknown: 'ask again with the same key, or look with `holdfast op list`',
};
