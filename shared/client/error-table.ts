/** The one table of error codes; in the package it is written out (`deploy/client/build.ts`). */
export { ERRORS, isErrorCode } from '../wire/problem.ts';
export type { ErrorCode } from '../wire/problem.ts';
