import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import type { StoredOperation } from './operation-record.ts';

/** The question that the admission of an operation was, as policy sees it. */
export function decisionInputOf({
  principal,
  action,
  resource,
  attributes,
}: StoredOperation): DecisionInput {
  return { principal, action, ...(resource.id === '' ? {} : { resource }), attributes };
}
