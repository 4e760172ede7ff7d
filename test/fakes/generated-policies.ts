/** Policies and requests that fit each other often enough for every reason to come up. */
import fc from 'fast-check';
import type { DecisionInput, PolicyDocument } from '../../shared/wire/policy-document.ts';

const CONDITIONS = [
  'true',
  'false',
  'attributes.amount <= 500',
  'has(attributes.amount) && attributes.amount > 5',
  '"agent" in principal.roles',
  'attributes.lines.all(line, line.price < 10)',
  'resource.attributes.region == attributes.region',
  'attributes.region.startsWith("eu")',
  'attributes.missing',
  'resource.id != "" && action == "payments.capture"',
];
const VALUES = [
  'attributes.amount',
  'attributes.amount + 1',
  'attributes.region',
  'principal.roles',
  'attributes.lines.filter(line, line.price > 5)',
  'has(attributes.amount) ? attributes.amount : 0',
  'attributes.missing',
  '"eu"',
];
/** With `$` for a variable before it. */
const DERIVED = ['$ == 5', '$', '$ != $', '"agent" in $', 'size($) > 0', 'false && $', '$ || true'];

const action = fc.constantFrom('payments.capture', 'payments.refund', 'tenants.delete');
const pattern = fc.oneof(action, fc.constantFrom('payments.*', '*'));

const condition = (names: readonly string[]): fc.Arbitrary<string> =>
  names.length === 0
    ? fc.constantFrom(...CONDITIONS)
    : fc.oneof(
        fc.constantFrom(...CONDITIONS),
        fc
          .tuple(fc.constantFrom(...DERIVED), fc.constantFrom(...names))
          .map(([derived, name]) => derived.replaceAll('$', `variables.${name}`)),
      );

const conditions = (names: readonly string[], minLength: number) =>
  fc.array(
    condition(names).map((expression) => ({ expression })),
    { minLength, maxLength: 3 },
  );

const rule = (names: readonly string[]) =>
  fc.record(
    {
      actions: fc.uniqueArray(pattern, { minLength: 1, maxLength: 2 }),
      match: conditions(names, 0),
      permit: conditions(names, 1),
      enforcement: fc.constantFrom('audit' as const, 'warn' as const, 'deny' as const),
      freshness: fc.constantFrom('fresh' as const, 'bounded' as const),
      deadline: fc.constantFrom('5m', '10m'),
      ownership: fc.constant({ lease: 'orders/{resource.id}', mode: 'strict' as const }),
    },
    { requiredKeys: ['actions', 'permit'] },
  );

const variable = (earlier: readonly string[]) =>
  fc.oneof(fc.constantFrom(...VALUES), condition(earlier));

/** Some do not compile: a derived condition may not fit the type of its variable. */
export const generatedPolicy: fc.Arbitrary<PolicyDocument> = fc
  .tuple(variable([]), variable(['v0']), variable(['v0', 'v1']), fc.integer({ min: 0, max: 3 }))
  .chain(([first, second, third, count]) => {
    const variables = [first, second, third]
      .slice(0, count)
      .map((expression, index) => ({ name: `v${index}`, expression }));
    const names = variables.map(({ name }) => name);
    return fc.record(
      {
        apiVersion: fc.constant('holdfast/v1' as const),
        kind: fc.constant('Policy' as const),
        defaults: fc.constant({ maxStaleness: '1m' }),
        principals: fc.constant({ 'agent:billing': { roles: ['agent'] } }),
        variables: fc.constant(variables),
        rules: fc
          .array(rule(names), { minLength: 1, maxLength: 6 })
          .map((rules) => rules.map((drawn, index) => ({ ...drawn, name: `rule-${index}` }))),
      },
      { requiredKeys: ['apiVersion', 'kind', 'principals', 'variables', 'rules'] },
    );
  });

export const generatedInput: fc.Arbitrary<DecisionInput> = fc.record(
  {
    principal: fc.constantFrom('agent:billing', 'agent:billing', 'agent:billing', 'agent:other'),
    action,
    resource: fc.record(
      {
        id: fc.constantFrom('order-1', 'odd id'),
        attributes: fc.record({ region: fc.constantFrom('eu', 'us') }, { requiredKeys: [] }),
      },
      { requiredKeys: ['id'] },
    ),
    attributes: fc.record(
      {
        amount: fc.constantFrom(4, 5, 5.5, 600, 'many'),
        region: fc.constantFrom('eu', 'us', 7),
        lines: fc.array(fc.record({ price: fc.constantFrom(4, 6, 20) }), { maxLength: 3 }),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: ['principal', 'action'] },
);
