/** A decision made here, under a document in a file: the same code as on control and the sidecar. */
import { explainDecision } from '../../shared/core/decision-trace.ts';
import { checkPolicy, type PolicyFormat } from '../../shared/platform/policy-gate.ts';
import type { PolicyDecision } from '../../shared/wire/decision.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import { CommandError } from './failures.ts';

/** The revision is 0: the document has none. */
export function decideOffline(
  document: { readonly name: string; readonly bytes: Uint8Array; readonly format: PolicyFormat },
  input: DecisionInput,
): PolicyDecision {
  const checked = checkPolicy(document.bytes, document.format);
  if (!checked.ok) {
    const detail = `${document.name} does not validate, so nothing can be decided under it`;
    throw new CommandError(checked.code, detail, { errors: checked.problems });
  }
  const { decision, trace } = explainDecision(checked.compiled, input);
  const { terms: _, ...said } = decision;
  return { ...said, policyRevision: 0, trace };
}
