import { describe, expect, test } from 'vitest';
import { closingLines } from '../../reporting/closing-lines.ts';
import type { FinishedModule } from '../../reporting/closing-lines.ts';
import { missingProgramNote } from '../../reporting/missing-program.ts';
import { findProgram, gatedTest } from '../../skips.ts';

type Result = { readonly state: string; readonly note?: string };

function finished(state: 'passed' | 'failed', results: readonly Result[]): FinishedModule {
  return {
    state: () => state,
    errors: () => [],
    children: { allTests: () => results.map((result) => ({ result: () => result })) },
  };
}

describe('the closing lines of a run', () => {
  test('count the tests of every file', () => {
    const modules = [
      finished('passed', [{ state: 'passed' }, { state: 'skipped' }]),
      finished('failed', [{ state: 'failed' }, { state: 'passed' }]),
    ];
    expect(closingLines(modules, 0)).toEqual(['2 passed, 1 failed, 1 skipped']);
  });

  test('count as failed a file that could not be loaded, and an error outside any test', () => {
    const modules = [finished('failed', []), finished('passed', [{ state: 'passed' }])];
    expect(closingLines(modules, 1)).toEqual(['1 passed, 2 failed, 0 skipped']);
  });

  test('name each missing program with the number of tests that it cost', () => {
    const promtool = { state: 'skipped', note: missingProgramNote('promtool') };
    const chromium = { state: 'skipped', note: missingProgramNote('chromium') };
    const other = { state: 'skipped', note: 'not on this platform' };
    expect(closingLines([finished('passed', [promtool, chromium, promtool, other])], 0)).toEqual([
      'SKIPPED 2 tests: promtool is not installed',
      'SKIPPED 1 test: chromium is not installed',
      '0 passed, 0 failed, 4 skipped',
    ]);
  });
});

describe('a test that needs a program', () => {
  let ran = 0;
  const found = gatedTest('promtool', { isFound: true, isCi: true });
  const missing = gatedTest('promtool', { isFound: false, isCi: true });

  found('runs where the program is there', () => {
    ran += 1;
    expect(ran).toBe(1);
  });

  // The failure comes before the body, so `fails` passes only if the gate itself threw.
  missing.fails('fails in CI where the program is missing', () => {
    ran += 1;
    expect(ran).toBe(2);
  });

  test('did not run the second one', () => {
    expect(ran).toBe(1);
  });
});

test('finds no program in an empty PATH', () => {
  const before = process.env['PATH'];
  try {
    process.env['PATH'] = '';
    expect(findProgram('strace')).toBeUndefined();
  } finally {
    process.env['PATH'] = before;
  }
});
