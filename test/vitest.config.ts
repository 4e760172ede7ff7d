import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { ClosingLines } from './reporting/closing-lines.ts';

// Many tests start daemons, and half of what a start costs is to strip and compile the same files.
process.env['NODE_COMPILE_CACHE'] ??= join(tmpdir(), 'holdfast-test-compile-cache');

// In test/ rather than at the root, so that the top level of the repository stays as designed.
export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    include: ['test/**/*.test.ts'],
    // A process for each file: several tests kill daemons, change the time zone or open SQLite
    // files.
    pool: 'forks',
    // Many tests wait for processes that they started; Vitest's own default leaves one core idle.
    maxWorkers: Math.max(2, availableParallelism()),
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    // A test that passes only at the second try has found something.
    retry: 0,
    allowOnly: false,
    passWithNoTests: false,
    reporters: ['default', new ClosingLines()],
  },
});
