/**
 * fast-check as every property test here takes it: under one seed, so that the same commit passes or
 * fails the same everywhere. `HOLDFAST_TEST_SEED=any npm test` looks further, and a number there
 * repeats what it found.
 */
import fc from 'fast-check';

const wanted = process.env['HOLDFAST_TEST_SEED'] ?? '20261124';
if (wanted !== 'any') {
  const seed = Number(wanted);
  if (!Number.isSafeInteger(seed)) {
    throw new Error(`HOLDFAST_TEST_SEED is ${JSON.stringify(wanted)}: give a whole number, or any`);
  }
  fc.configureGlobal({ seed });
}

export { fc };
