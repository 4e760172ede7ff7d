/**
 * The request behind a recorded admission or refusal, so that it can be decided again; `null` where
 * the record does not hold all that was decided on.
 */
import type { DecisionInput } from '../../shared/wire/policy-document.ts';

type Body = Readonly<Record<string, unknown>>;

export function admittedInput(body: Body): DecisionInput | null {
  const { principal, action, resource, attributes } = body;
  if (!isRecord(resource)) return null;
  return inputOf({
    principal,
    action,
    resourceId: resource['id'],
    resourceAttributes: resource['attributes'],
    // What was not given is not written.
    attributes: attributes ?? {},
  });
}

/** Sidecars of before did not record the attributes of what they refused, nor large ones now. */
export function refusedInput(body: Body): DecisionInput | null {
  const { refusal } = body;
  return isRecord(refusal) ? inputOf(refusal) : null;
}

function inputOf(facts: Body): DecisionInput | null {
  const { principal, action, resourceId, resourceAttributes, attributes } = facts;
  if (typeof principal !== 'string' || typeof action !== 'string') return null;
  if (typeof resourceId !== 'string') return null;
  if (!isRecord(resourceAttributes) || !isRecord(attributes)) return null;
  return {
    principal,
    action,
    ...(resourceId === ''
      ? {}
      : { resource: { id: resourceId, attributes: { ...resourceAttributes } } }),
    attributes: { ...attributes },
  };
}

function isRecord(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
