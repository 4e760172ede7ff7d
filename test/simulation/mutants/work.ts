/** Bugs of what becomes of accepted work: I8, I9. */
import type { Mutant } from './mutant.ts';

export const WORK_MUTANTS: readonly Mutant[] = [
  {
    name: 'no-deadline',
    about: 'a deadline never passes',
    promise: 'I8',
    file: 'dataplane/core/operation-record.ts',
    find: 'return now.bootMs >= deadlineBoot.bootMs;',
    replace: 'return now.bootMs < 0;',
    seedsMax: 10,
  },
  {
    name: 'unknown-settled-as-failed',
    about: 'what is not known is recorded as failed',
    promise: 'I8',
    file: 'dataplane/core/operation-endings.ts',
    find: "{ state: 'unknown', reason, outcome, effects: markUnknown(operation, now) },",
    replace: "{ state: 'failed', reason, outcome, effects: markUnknown(operation, now) },",
    seedsMax: 10,
  },
  {
    name: 'run-a-recorded-success-again',
    about: 'a recorded success is begun again instead of returned',
    promise: 'I9',
    file: 'dataplane/core/operation-steps.ts',
    find: "if (existing?.state === 'succeeded') return",
    replace: "if (existing?.state === 'succeeded' && !terms.idempotent) return",
    seedsMax: 60,
  },
  {
    name: 'skip-an-attempt',
    about: 'an attempt is numbered past the next one',
    promise: 'I9',
    file: 'dataplane/core/operation-steps.ts',
    find: 'attempt: operation.attempt + 1,',
    replace: 'attempt: operation.attempt + 2,',
    seedsMax: 5,
  },
];
