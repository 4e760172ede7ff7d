/**
 * Decisions in process, without HTTP and disk: what policy itself costs on the thread that admits.
 * With more rules it should not get slower, since rules for other actions are not looked at (P4).
 */
import { compilePolicy, decide } from '../../shared/core/policy.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import type { DecisionInput, PolicyDocument } from '../../shared/wire/policy-document.ts';
import { benchPolicy } from './bench-policy.ts';

export type DecideFigures = {
  /** One rule of so many is for the action. */
  readonly byRules: readonly { readonly rules: number; readonly perSecond: number }[];
  /** Under the policy of the admission benchmark: several rules are, and the last of them fits. */
  readonly admissionPolicyPerSecond: number;
};

export type DecideOptions = {
  readonly rules: readonly number[];
  readonly say: (text: string) => void;
};

const ROUND_MS = 500;
const ROUNDS = 5;
/** Requests come anew each time, as from a parser; so many are made before the clock runs. */
const REQUESTS = 2_000;

export function benchDecide({ rules, say }: DecideOptions): DecideFigures {
  const measured = (name: string, document: PolicyDocument): number => {
    const perSecond = decisionsPerSecond(document);
    const microseconds = (1_000_000 / perSecond).toFixed(2);
    say(`decide, ${name}: ${Math.round(perSecond)}/s, ${microseconds} us each`);
    return perSecond;
  };
  return {
    byRules: rules.map((count) => ({
      rules: count,
      perSecond: measured(`${count} rules`, policyOf(count)),
    })),
    admissionPolicyPerSecond: measured('policy of the admission benchmark', benchPolicy()),
  };
}

/** The rule that fits the benchmark's operations, in the middle of rules for other actions. */
function policyOf(count: number): PolicyDocument {
  const document = benchPolicy();
  const fitting = document.rules.find(({ ownership }) => ownership !== undefined);
  if (fitting === undefined) throw new Error('no rule of the benchmark asks for a lease');
  const others = document.rules.filter((rule) => rule !== fitting);
  const rules = Array.from({ length: count }, (_, index) => ({
    ...(others[index % others.length] ?? fitting),
    name: `rule-${index}`,
    actions: [`bench.action${index}`],
  }));
  return { ...document, rules: rules.with(Math.floor(count / 2), fitting) };
}

/** The median of several rounds, so that a pause of the machine is not the figure. */
function decisionsPerSecond(document: PolicyDocument): number {
  const compiled = compilePolicy(document, compileCel);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  const round = (): number => {
    let spentMs = 0;
    let decisions = 0;
    while (spentMs < ROUND_MS) {
      const inputs = Array.from({ length: REQUESTS }, (_, index) => requestOf(index));
      const startedMs = performance.now();
      for (const input of inputs) {
        const { reason } = decide(compiled.policy, input);
        if (reason !== 'permitted') throw new Error(`the decision was ${reason}`);
      }
      spentMs += performance.now() - startedMs;
      decisions += inputs.length;
    }
    return (decisions / spentMs) * 1_000;
  };
  round();
  const perSecond = Array.from({ length: ROUNDS }, round).toSorted((a, b) => a - b);
  return perSecond[Math.floor(ROUNDS / 2)] ?? 0;
}

function requestOf(index: number): DecisionInput {
  return JSON.parse(
    JSON.stringify({
      principal: 'agent:bench',
      action: 'bench.charge',
      resource: { id: `order-${index}`, attributes: { shard: 's0' } },
      attributes: { amount: 20, currency: 'EUR' },
    }),
  ) as DecisionInput;
}
