/**
 * Every type of the wire that the published client shows. In the package this file is another: the
 * same types, written out from their schemas, so that whoever installs it needs no other package
 * (`deploy/client/build.ts`).
 */
export type {
  AdmitRequest,
  Effect,
  Operation,
  OperationState,
  OutageCause,
  Outcome,
} from '../wire/operation.ts';
export type { Attempt, EffectAnswer, Heartbeat } from '../wire/sidecar-api.ts';
export type { ClaimAnswer, Claimed } from '../wire/claim-api.ts';
export type { Problem } from '../wire/problem.ts';
