import type { Reporter, SerializedError, TestModule } from 'vitest/node';
import { missingProgramIn } from './missing-program.ts';

/**
 * Ends a run with what must not be overlooked: which tests were skipped because a program is
 * missing, and one plain line of totals, in a form that people and machines read without knowing
 * Vitest.
 */
export class ClosingLines implements Reporter {
  #lines: string[] = [];

  constructor() {
    // At exit, so that nothing of the default reporter comes after it.
    process.once('exit', () => {
      if (this.#lines.length > 0) process.stdout.write(`${this.#lines.join('\n')}\n`);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    this.#lines = closingLines(modules, unhandled.length);
  }
}

/** What is asked of a Vitest module here; a plain object in the tests of this file. */
export type FinishedModule = Pick<TestModule, 'state' | 'errors'> & {
  readonly children: {
    allTests(): Iterable<{
      result(): { readonly state: string; readonly note?: string | undefined };
    }>;
  };
};

export function closingLines(modules: readonly FinishedModule[], unhandledCount: number): string[] {
  const totals = { passed: 0, failed: unhandledCount, skipped: 0 };
  const skippedBy = new Map<string, number>();
  for (const module of modules) {
    // A file that could not be loaded, or whose set-up failed, has failed even if it holds no test.
    let failedHere = 0;
    for (const test of module.children.allTests()) {
      const result = test.result();
      if (result.state === 'passed') totals.passed += 1;
      else if (result.state === 'failed') failedHere += 1;
      else {
        totals.skipped += 1;
        const program = missingProgramIn(result.note);
        if (program !== undefined) skippedBy.set(program, (skippedBy.get(program) ?? 0) + 1);
      }
    }
    if (failedHere === 0 && module.state() === 'failed') failedHere = 1;
    totals.failed += failedHere;
  }
  const skips = [...skippedBy].map(
    ([program, count]) =>
      `SKIPPED ${count} ${count === 1 ? 'test' : 'tests'}: ${program} is not installed`,
  );
  return [...skips, `${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`];
}
