/** A sidecar that admits two operations, is asked for them by one claim, and dies at a given point of it. */
import { armFailpoints } from '../../shared/platform/failpoints.ts';
import { openTestSidecar } from './sidecar-app.ts';
import { NOTIFY, callerOf } from './sidecar-caller.ts';

export const CLAIM_THEN_DIE = import.meta.filename;
export const CLAIM = { body: { actions: ['*'], limit: 9 }, headers: { 'idempotency-key': 'k' } };

async function run(
  directory: string,
  failpoints: string,
  reportFile: string | null,
): Promise<void> {
  // Before the journal: what is armed holds for the threads that start afterwards.
  armFailpoints(failpoints, reportFile);
  const sidecar = await openTestSidecar({ directory });
  const { admit, call } = callerOf(() => sidecar);
  for (const key of ['a', 'b']) await admit(NOTIFY, key);
  await call('POST', '/v1/operations:claim', CLAIM);
  await new Promise((resolve) => setTimeout(resolve, 5_000));
}

if (import.meta.main) {
  const [directory = '', failpoints = '', reportFile = null] = process.argv.slice(2);
  await run(directory, failpoints, reportFile);
}
