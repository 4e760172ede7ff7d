/**
 * One policy in three languages: so many rules, each for an action of its own, each permitting those
 * with a role up to an amount. Each is written as its own documentation does it: Holdfast's rules
 * name their action, Cedar's policies have it in their scope, Cerbos has ten actions a resource.
 *
 * The expressions are as short as they are because 10,000 rules must fit a document (1 MiB).
 */
import type { DecisionInput, PolicyDocument } from '../../shared/wire/policy-document.ts';

const ROLE = 'ai';
const AMOUNT_MAX = 9;
const ACTIONS_PER_RESOURCE = 10;

const actionOf = (index: number): string => `a${index}`;
const resourceKindOf = (action: string): string =>
  `area${Math.floor(Number(action.slice(1)) / ACTIONS_PER_RESOURCE)}`;

/** Cerbos and Cedar are told the roles with each request, from here. */
export const PRINCIPALS: Readonly<Record<string, readonly string[]>> = {
  'agent:bench': [ROLE],
  'agent:reader': ['reader'],
};

export function holdfastPolicy(rules: number): PolicyDocument {
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    defaults: { maxStaleness: '12h' },
    principals: Object.fromEntries(
      Object.entries(PRINCIPALS).map(([id, roles]) => [id, { roles: [...roles] }]),
    ),
    rules: Array.from({ length: rules }, (_, index) => ({
      name: String(index),
      actions: [actionOf(index)],
      permit: [{ expression: `'${ROLE}' in principal.roles&&attributes.n<=${AMOUNT_MAX}` }],
    })),
  };
}

/** By policy id. */
export function cedarPolicies(rules: number): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: rules }, (_, index) => [
      String(index),
      `permit(principal in Role::"${ROLE}", action == Action::"${actionOf(index)}", resource) when { context.n <= ${AMOUNT_MAX} };`,
    ]),
  );
}

export function cedarRequest({ principal, action, resource, attributes }: DecisionInput) {
  const roles = PRINCIPALS[principal] ?? [];
  const uid = { type: 'Principal', id: principal };
  return {
    principal: uid,
    action: { type: 'Action', id: action },
    resource: { type: 'Order', id: resource?.id ?? '' },
    context: attributes ?? {},
    entities: [
      { uid, attrs: {}, parents: roles.map((id) => ({ type: 'Role', id })) },
      {
        uid: { type: 'Order', id: resource?.id ?? '' },
        attrs: resource?.attributes ?? {},
        parents: [],
      },
    ],
  };
}

/** By the name of its file. JSON is YAML too. */
export function cerbosPolicies(rules: number): Map<string, string> {
  const actions = Array.from({ length: rules }, (_, index) => actionOf(index));
  const byKind = Map.groupBy(actions, resourceKindOf);
  return new Map(
    [...byKind].map(([kind, kindActions]) => [
      `${kind}.json`,
      JSON.stringify({
        apiVersion: 'api.cerbos.dev/v1',
        resourcePolicy: {
          version: 'default',
          resource: kind,
          rules: kindActions.map((action) => ({
            actions: [action],
            effect: 'EFFECT_ALLOW',
            roles: [ROLE],
            condition: { match: { expr: `R.attr.n <= ${AMOUNT_MAX}` } },
          })),
        },
      }),
    ]),
  );
}

export function cerbosRequest({ principal, action, resource, attributes }: DecisionInput) {
  return {
    principal: { id: principal, roles: PRINCIPALS[principal] ?? ['none'] },
    resources: [
      {
        actions: [action],
        resource: {
          kind: resourceKindOf(action),
          id: resource?.id ?? '',
          attr: { ...resource?.attributes, ...attributes },
        },
      },
    ],
  };
}

/** The request that is timed, for the rule in the middle. Made anew each time, as from a parser. */
export function timedRequest(rules: number, index: number): DecisionInput {
  return requestOf({
    principal: 'agent:bench',
    action: actionOf(Math.floor(rules / 2)),
    id: `order-${index}`,
    n: 2,
  });
}

/** What the decisions are compared on: every answer and every border, first and last rule. */
export function sampleRequests(rules: number): DecisionInput[] {
  const actions = [0, 1, Math.floor(rules / 2), rules - 1, rules, rules + 1_000].map(actionOf);
  const principals = [...Object.keys(PRINCIPALS), 'agent:stranger'];
  const amounts = [-1, 0, AMOUNT_MAX - 1, AMOUNT_MAX, AMOUNT_MAX + 1, 1_000_000, undefined];
  return actions.flatMap((action) =>
    principals.flatMap((principal) =>
      amounts.map((n) => requestOf({ principal, action, id: 'order-1', n })),
    ),
  );
}

function requestOf(given: {
  principal: string;
  action: string;
  id: string;
  n: number | undefined;
}): DecisionInput {
  const { principal, action, id, n } = given;
  return JSON.parse(
    JSON.stringify({
      principal,
      action,
      resource: { id, attributes: { shard: 's0' } },
      attributes: { n, currency: 'EUR' },
    }),
  ) as DecisionInput;
}
