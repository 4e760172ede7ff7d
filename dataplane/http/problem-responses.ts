import Type from 'typebox';

/** The problem responses of a route, for its description. */
export function problems(
  ...statuses: number[]
): Record<
  number,
  { content: { 'application/problem+json': { schema: ReturnType<typeof Type.Ref> } } }
> {
  const content = { 'application/problem+json': { schema: Type.Ref('Problem') } };
  return Object.fromEntries(statuses.map((status) => [status, { content }]));
}
