/**
 * Everything between the bytes of a bundle and a policy that may be put in force: no state, no
 * disk.
 *
 * The order is fixed and each failure has its reason: signature (`VERIFY_REASONS`), audience and
 * revision (`BUNDLE_REFUSALS`), then `digest_mismatch`, `policy_too_large`, `policy_invalid`.
 */
import Type, { type Static } from 'typebox';
import { canonicalJsonSteps } from '../../shared/core/canonical-json.ts';
import type { Steps } from '../../shared/core/steps.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import type { PolicyCheck } from '../../shared/platform/policy-gate.ts';
import type { Verified, Verifier } from '../../shared/platform/signatures.ts';
import { POLICY_BYTES_MAX } from '../../shared/wire/policy-document.ts';
import { BundleSchema, STATEMENT_TYPES } from '../../shared/wire/statements.ts';

/**
 * The policy is left open, so that a document that a newer control wrote and this sidecar cannot
 * read is still known by its number, and reported (I11).
 */
const SignedBundleSchema = Type.Object({ ...BundleSchema.properties, policy: Type.Unknown() });
export type SignedBundle = Static<typeof SignedBundleSchema>;

export type PolicyChecker = (value: unknown) => Steps<PolicyCheck>;

export type Inspected =
  | Extract<PolicyCheck, { ok: true }>
  | {
      readonly ok: false;
      readonly reason: 'digest_mismatch' | 'policy_too_large' | 'policy_invalid';
      readonly detail: string;
    };

export function verifyBundle(
  statement: string,
  verifier: Verifier,
): Promise<Verified<SignedBundle>> {
  return verifier.verify(statement, { type: STATEMENT_TYPES.bundle, schema: SignedBundleSchema });
}

const PROBLEMS_SHOWN = 5;

export function* inspectPolicy(bundle: SignedBundle, checkPolicy: PolicyChecker): Steps<Inspected> {
  const canonical = yield* canonicalJsonSteps(bundle.policy);
  const digest = sha256Hex(canonical);
  if (digest !== bundle.policyDigest) {
    const detail = `the document has digest ${digest} and the bundle says ${bundle.policyDigest}`;
    return { ok: false, reason: 'digest_mismatch', detail };
  }
  const sizeBytes = Buffer.byteLength(canonical);
  if (sizeBytes > POLICY_BYTES_MAX) {
    const detail = `the document has ${sizeBytes} bytes, over the bound of ${POLICY_BYTES_MAX}`;
    return { ok: false, reason: 'policy_too_large', detail };
  }
  yield;
  const checked = yield* checkPolicy(bundle.policy);
  if (checked.ok) return checked;
  const shown = checked.problems
    .slice(0, PROBLEMS_SHOWN)
    .map(({ path, message }) => `${path || '/'}: ${message}`);
  const more = checked.problems.length - shown.length;
  const detail = [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
  return { ok: false, reason: 'policy_invalid', detail };
}
