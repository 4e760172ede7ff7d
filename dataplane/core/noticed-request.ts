import type { NoticedRequest } from '../../shared/core/notice-index.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import type { StoredOperation } from './operation-record.ts';

type OfThisHost = Omit<NoticedRequest, 'hostId'>;

/** What an app asks for, as notices see it. */
export function noticedRequest(app: string, input: DecisionInput): OfThisHost {
  const { principal, action, resource } = input;
  return { app, principal, action, resourceId: resource?.id ?? '' };
}

/** The same of what was admitted. */
export function noticedOperation(operation: StoredOperation): OfThisHost {
  const { app, principal, action, resource } = operation;
  return { app, principal, action, resourceId: resource.id };
}
