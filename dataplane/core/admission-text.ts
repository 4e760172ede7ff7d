/**
 * An admission as the text that its entry has: first what is its own, then what it shares with
 * others under the same rule, app and boot, so that a journal can keep the end once for all of them.
 */
import type { Admission } from '../../shared/wire/operation.ts';

export type AdmissionText = { readonly own: string; readonly end: string };

type Shared = Pick<
  Admission,
  | 'hostId'
  | 'app'
  | 'policyRevision'
  | 'rule'
  | 'basis'
  | 'ownershipMode'
  | 'ownershipGraceMs'
  | 'onControlLoss'
  | 'onWorkerLoss'
  | 'heartbeatTimeoutMs'
  | 'effectTerms'
>;

export function admissionText(admission: Admission): AdmissionText {
  const {
    hostId,
    app,
    policyRevision,
    rule,
    basis,
    ownershipMode,
    ownershipGraceMs,
    onControlLoss,
    onWorkerLoss,
    heartbeatTimeoutMs,
    effectTerms,
    deadlineBoot,
    ...own
  } = admission;
  const shared: Shared = {
    hostId,
    app,
    policyRevision,
    rule,
    basis,
    ...(ownershipMode === undefined ? {} : { ownershipMode }),
    ...(ownershipGraceMs === undefined ? {} : { ownershipGraceMs }),
    ...(onControlLoss === undefined ? {} : { onControlLoss }),
    ...(onWorkerLoss === undefined ? {} : { onWorkerLoss }),
    ...(heartbeatTimeoutMs === undefined ? {} : { heartbeatTimeoutMs }),
    effectTerms,
  };
  const ownText = JSON.stringify(own);
  return {
    own: `${ownText.slice(0, -1)},"deadlineBoot":{"bootMs":${deadlineBoot.bootMs},`,
    end: `"bootId":${JSON.stringify(deadlineBoot.bootId)}},${JSON.stringify(shared).slice(1)}`,
  };
}
