/** A policy of 50 rules, each with expressions of its own; the benchmark's operations fit the 25th. */
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';

const RULES = 50;

export function benchPolicy(): PolicyDocument {
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:bench': { roles: ['agent'] } },
    rules: Array.from({ length: RULES }, (_, index) => ({
      name: `rule-${index + 1}`,
      actions:
        index === 24 ? ['bench.charge', 'bench.other'] : [`bench.action${index}`, 'bench.charge'],
      match: [
        {
          expression:
            index === 24
              ? 'has(resource.attributes.shard)'
              : `has(attributes.kind) && attributes.kind == "kind-${index}"`,
        },
      ],
      permit: [{ expression: '"agent" in principal.roles && attributes.amount <= 500' }],
      maxStaleness: '1h',
      maxDeadline: '12h',
      deadline: '12h',
      ...(index === 24
        ? {
            ownership: {
              lease: 'bench/{resource.attributes.shard}',
              mode: 'fenced' as const,
              grace: '30m',
            },
            effects: { charge: { fencing: 'enforced' as const } },
          }
        : {}),
    })),
  };
}
