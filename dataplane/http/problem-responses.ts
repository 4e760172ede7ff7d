import Type from 'typebox';

type ProblemResponse = {
  content: { 'application/problem+json': { schema: ReturnType<typeof Type.Ref> } };
};

/**
 * The problem responses of a route, for its description: those that its callers must expect, by status, and
 * besides them what any request may meet, as a body that is too large or a daemon that stops.
 */
export function problems(
  ...statuses: number[]
): Record<number, ProblemResponse> & Record<'4xx' | '5xx', ProblemResponse> {
  const content = { 'application/problem+json': { schema: Type.Ref('Problem') } };
  const named = Object.fromEntries(statuses.map((status) => [status, { content }]));
  return { ...named, '4xx': { content }, '5xx': { content } };
}
