/**
 * What a document of 1,000 rules costs: all gates of its publication, on control; compiling it alone,
 * on a sidecar. The first time is what a daemon that has just started pays. All of it on one thread,
 * so it is the CPU time of that thread: on a machine with a core to spare that is the time it takes.
 */
import { compilePolicy } from '../../shared/core/policy.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import { checkPolicy } from '../../shared/platform/policy-gate.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';

export type PublicationFigures = {
  readonly rules: number;
  readonly tests: number;
  readonly bytes: number;
  readonly gatesFirstMs: number;
  readonly gatesMedianMs: number;
  readonly compileFirstMs: number;
  readonly compileMedianMs: number;
};

const RULES = 1_000;
const TESTS = 200;
const ROUNDS = 7;

export function benchPublication(say: (text: string) => void): PublicationFigures {
  const document = realisticPolicy();
  const text = JSON.stringify(document);
  const compileMs = timesOf(() => {
    const { ok } = compilePolicy(document, compileCel);
    if (!ok) throw new Error('it does not compile');
  });
  const gateMs = timesOf(() => {
    const checked = checkPolicy(text, 'json');
    if (!checked.ok) throw new Error(JSON.stringify(checked.problems[0]));
  });
  const figures = {
    rules: RULES,
    tests: TESTS,
    bytes: Buffer.byteLength(text),
    gatesFirstMs: gateMs.first,
    gatesMedianMs: gateMs.median,
    compileFirstMs: compileMs.first,
    compileMedianMs: compileMs.median,
  };
  say(
    `${RULES} rules: gates ${gateMs.median.toFixed(0)} ms (first ${gateMs.first.toFixed(0)}), compiled in ${compileMs.median.toFixed(0)} ms (first ${compileMs.first.toFixed(0)})`,
  );
  return figures;
}

export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

function timesOf(run: () => void): { first: number; median: number } {
  const times = Array.from({ length: ROUNDS }, () => {
    const startedMs = threadCpuMs();
    run();
    return threadCpuMs() - startedMs;
  });
  const [first = 0] = times;
  return { first, median: times.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0 };
}

/** Each rule with expressions, a lease and effects, none like another. */
function realisticPolicy(): PolicyDocument {
  const action = (index: number): string => `area${index % 50}.action${index}`;
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:bench': { roles: ['agent'] } },
    rules: Array.from({ length: RULES }, (_, index) => ({
      name: `rule-${index}`,
      actions: [action(index)],
      match: [{ expression: `has(resource.attributes.shard) && resource.id != "none-${index}"` }],
      permit: [
        { expression: '"agent" in principal.roles', message: 'only agents do this' },
        { expression: `attributes.amount > 0 && attributes.amount <= ${index + 100}` },
      ],
      maxStaleness: '5m',
      ownership: {
        lease: `area${index % 50}/{resource.attributes.shard}`,
        mode: 'fenced',
        grace: '2m',
      },
      effects: { charge: { fencing: 'enforced' } },
    })),
    tests: Array.from({ length: TESTS }, (_, index) => ({
      name: `test ${index}`,
      given: {
        principal: 'agent:bench',
        action: action(index),
        resource: { id: 'order-1', attributes: { shard: 7 } },
        attributes: { amount: index % 2 === 0 ? 50 : 5_000 },
      },
      expect: { decision: index % 2 === 0 ? 'permit' : 'deny', rule: `rule-${index}` },
    })),
  };
}
