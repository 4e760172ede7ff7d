/** What the library says, in the words of policy, with a way out where it is about the document. */
const ROOTS = 'principal, action, resource, attributes and variables';

/** By the codes of the library. */
const WAYS_OUT: Readonly<Record<string, string>> = {
  unknown_variable: `known here are ${ROOTS}; what a request brings is in attributes.NAME and resource.attributes.NAME`,
  no_such_key: 'principal has id and roles, resource has id and attributes',
  no_such_overload:
    'compare or add only values of one kind, converted with int(), double() or string()',
  no_matching_overload: 'look at the number and the kinds of its arguments',
};
const OTHERWISE = 'write a CEL expression, as attributes.amount <= 500';

export function publicationProblem(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return `${firstLines(error)}\n(way out: ${WAYS_OUT[code] ?? OTHERWISE})`;
}

/** The library's message, then a caret under the place: both lines help, the rest does not. */
export function firstLines(error: unknown): string {
  return (error instanceof Error ? error.message : String(error))
    .split('\n')
    .slice(0, 3)
    .join('\n')
    .trim();
}
