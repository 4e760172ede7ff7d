/**
 * Tests that need a program which npm cannot install. Where it is missing they are skipped, counted
 * and named at the end of the run; under `CI=true` they fail, because there a skipped test is a
 * lost one.
 */
import { accessSync, constants, globSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'vitest';
import { missingProgramNote } from './reporting/missing-program.ts';

/** Where each program may be besides `PATH`; Debian keeps the servers of PostgreSQL out of it. */
const PROGRAMS = {
  promtool: ['promtool'],
  prometheus: ['prometheus'],
  chromium: ['chromium', 'chromium-browser', 'google-chrome'],
  postgres: ['postgres', '/usr/lib/postgresql/*/bin/postgres'],
  'redis-server': ['redis-server'],
  strace: ['strace'],
  faketime: ['faketime'],
  ip: ['ip', '/usr/sbin/ip', '/sbin/ip'],
  'systemd-analyze': ['systemd-analyze'],
} as const;

export type Program = keyof typeof PROGRAMS;

/** The absolute path of an external program, or `undefined` where it is not installed. */
export function findProgram(program: Program): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const candidates = PROGRAMS[program].flatMap((name) =>
    name.startsWith('/') ? globSync(name) : folders.map((folder) => join(folder, name)),
  );
  return candidates.find(isExecutable);
}

/**
 * `test`, but where `program` is missing each test of it is a counted skip, and in CI a failure.
 */
export function programTest(program: Program) {
  const isCi = process.env['CI'] === 'true';
  return gatedTest(program, { isFound: findProgram(program) !== undefined, isCi });
}

/** Apart from `programTest` so that a test can see every answer. */
export function gatedTest(
  program: Program,
  given: { readonly isFound: boolean; readonly isCi: boolean },
) {
  return test.extend('programGate', { auto: true }, ({ skip }) => {
    if (given.isFound) return;
    if (given.isCi) throw new Error(`${program} is not installed; \`.ci/run\` installs it`);
    skip(missingProgramNote(program));
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
