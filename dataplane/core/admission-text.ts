/**
 * An admission as the text that its entry has: first what is its own, then what it shares with
 * others under the same rule, app and boot, so that a journal can keep the end once for all of them.
 */
import type { Admission } from '../../shared/wire/operation.ts';

export type AdmissionText = { readonly own: string; readonly end: string };

const SHARED = [
  'hostId',
  'app',
  'policyRevision',
  'rule',
  'basis',
  'ownershipMode',
  'ownershipGraceMs',
  'onControlLoss',
  'onWorkerLoss',
  'onRevoke',
  'recheck',
  'onUnknown',
  'heartbeatTimeoutMs',
  'effectTerms',
] as const satisfies (keyof Admission)[];

type Own = Omit<Admission, (typeof SHARED)[number] | 'deadlineBoot'>;

/** In the order that they have on disk. Named, not left over: that would be a table, and slow. */
function ownOf(admission: Admission): { [Name in keyof Required<Own>]: Own[Name] | undefined } {
  return {
    idempotencyKey: admission.idempotencyKey,
    fingerprint: admission.fingerprint,
    principal: admission.principal,
    action: admission.action,
    resource: admission.resource,
    stalenessMs: admission.stalenessMs,
    deadlineAtMs: admission.deadlineAtMs,
    approval: admission.approval,
    attributes: admission.attributes,
    leaseResource: admission.leaseResource,
    leaseEpoch: admission.leaseEpoch,
    leaseInGrace: admission.leaseInGrace,
    warnings: admission.warnings,
    compensates: admission.compensates,
    traceparent: admission.traceparent,
    tracestate: admission.tracestate,
  };
}

/** Whoever writes many keeps one of these: the end is made when it changes. */
export class AdmissionTexts {
  /** By the terms of effects, which are one object for a rule of a revision. */
  readonly #ends = new WeakMap<object, { readonly of: Admission; readonly text: string }>();

  textOf(admission: Admission): AdmissionText {
    const { deadlineBoot } = admission;
    const ownText = JSON.stringify(ownOf(admission));
    return {
      own: `${ownText.slice(0, -1)},"deadlineBoot":{"bootMs":${deadlineBoot.bootMs},`,
      end: this.#endOf(admission),
    };
  }

  #endOf(admission: Admission): string {
    const known = this.#ends.get(admission.effectTerms);
    if (known !== undefined && sharesEnd(known.of, admission)) return known.text;
    const { bootId } = admission.deadlineBoot;
    const shared = JSON.stringify(
      Object.fromEntries(SHARED.map((name) => [name, admission[name]])),
    );
    const text = `"bootId":${JSON.stringify(bootId)}},${shared.slice(1)}`;
    this.#ends.set(admission.effectTerms, { of: admission, text });
    return text;
  }
}

function sharesEnd(a: Admission, b: Admission): boolean {
  if (a.deadlineBoot.bootId !== b.deadlineBoot.bootId) return false;
  for (const name of SHARED) if (a[name] !== b[name]) return false;
  return true;
}
