/** Parts of route descriptions that every resource uses. */
import Type, { type TSchema } from 'typebox';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { STATEMENT_CONTENT_TYPE } from '../../shared/wire/statements.ts';
import { page } from '../../shared/wire/control-api.ts';
import type { PageRequest } from '../store/control-store.ts';

const problem = {
  description: 'a problem; `code` says which',
  content: { 'application/problem+json': { schema: Type.Ref('Problem') } },
};

/** What any route may answer besides what it is there for. */
export const PROBLEMS = { '4xx': problem, '5xx': problem } as const;

/** One signed statement, as text. */
export const STATEMENT = (description: string) => ({
  description,
  content: { [STATEMENT_CONTENT_TYPE]: { schema: Type.String() } },
});

export const pageOf = <T extends TSchema>(item: T) => page(item);

export function pageRequest(query: { limit?: number; cursor?: string }): PageRequest {
  return { limit: query.limit ?? 100, cursor: query.cursor ?? null };
}

/** An answer without a body: a `null` would be written as one. */
export const noBody = (description: string) => Type.Unsafe<undefined>({ description });

/** `"7"` -> 7; anything else is not a tag that control gives. */
export function parseRevisionTag(tag: string): number | null {
  const digits = /^"([1-9][0-9]{0,15})"$/.exec(tag.trim())?.[1];
  return digits === undefined ? null : Number(digits);
}

export const revisionTag = (policyRevision: number): string => `"${policyRevision}"`;

export function notFound(what: string): HoldfastError {
  return new HoldfastError('not_found', `there is no ${what}`);
}
