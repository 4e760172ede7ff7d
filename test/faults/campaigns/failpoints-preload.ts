/**
 * Preloaded into a program whose failpoints are to be armed: takes `HOLDFAST_FAILPOINTS` and
 * `HOLDFAST_FAILPOINTS_REPORT` out of the environment. A program that was not given this refuses
 * the two variables as unknown ones, so that nobody arms it by an environment alone.
 */
import { isMainThread } from 'node:worker_threads';
import { FailpointError, armFailpoints } from '../../../shared/platform/failpoints.ts';

const EXIT_USAGE = 2;

const text = process.env['HOLDFAST_FAILPOINTS'];
const reportFile = process.env['HOLDFAST_FAILPOINTS_REPORT'] ?? null;
delete process.env['HOLDFAST_FAILPOINTS'];
delete process.env['HOLDFAST_FAILPOINTS_REPORT'];

// Preloads run in worker threads too; those get what the main thread has armed.
if (isMainThread && text !== undefined) {
  try {
    armFailpoints(text, reportFile);
  } catch (error) {
    if (!(error instanceof FailpointError)) throw error;
    process.stderr.write(`HOLDFAST_FAILPOINTS: ${error.message}\n`);
    process.exit(EXIT_USAGE);
  }
}
