/**
 * Policy expressions against a second implementation of CEL (npm `@bufbuild/cel`): over generated
 * expressions and requests both give the same, or differ in a way that is listed here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { celEnv, parse, plan } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import type { ExpressionContext } from '../../../shared/core/policy.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import {
  generatedCalculation,
  generatedCondition,
  generatedContext,
} from '../../fakes/generated-expressions.ts';

const DESIGN = readFileSync(join(import.meta.dirname, '../../../shared/DESIGN.md'), 'utf8');

/** `error` also for what is not a bool. */
type Outcome = 'true' | 'false' | 'error';
type Pair = {
  readonly ours: Outcome;
  readonly problem: string;
  readonly peer: Outcome;
  readonly peerProblem: string;
};

type Difference = {
  readonly what: string;
  /** `null` where it is the peer that differs from the specification. */
  readonly effect: string | null;
  readonly fits: (pair: Pair, source: string, request: ExpressionContext) => boolean;
  readonly example: readonly [source: string, attributes: string];
};

const DIFFERENCES: readonly Difference[] = [
  {
    what: 'what cannot be a key is no member of a map',
    effect: 'false instead of an error',
    fits: ({ ours, peerProblem }) => ours !== 'error' && peerProblem.includes("'@in' applied to"),
    example: ['[1] in attributes', '{}'],
  },
  {
    what: 'whole numbers that are converted or negated may leave their range',
    effect: 'a value instead of an error',
    fits: ({ ours, peerProblem }) => ours !== 'error' && peerProblem.includes('overflow'),
    example: ['int(attributes.a) > 5', '{"a": 1e21}'],
  },
  {
    what: 'the peer reads a text that is no number as NaN',
    effect: null,
    fits: ({ problem }) => problem.includes('cannot convert to double'),
    example: ['double(attributes.a) < 5.0', '{"a": "many"}'],
  },
  {
    what: 'the peer takes a key that holds null for absent in has()',
    effect: null,
    fits: (_pair, source, request) =>
      source.includes('has(') && JSON.stringify(request).includes('null'),
    example: ['has(attributes.a)', '{"a": null}'],
  },
  {
    what: 'the peer compares a whole number over 2^53 with a double as one',
    effect: null,
    fits: ({ ours, peer }, source) =>
      ours !== 'error' && peer !== 'error' && /900719925474099[13]/.test(source),
    example: ['9007199254740992.0 >= 9007199254740993', '{}'],
  },
  {
    what: 'the peer leaves out a double minus, whatever follows',
    effect: null,
    fits: ({ problem }, source) => source.includes('--') && problem.includes('no such overload: -'),
    example: ['type(--attributes.a) == string', '{"a": []}'],
  },
];

/** As `cel-request.ts` says that a request is meant. */
function asPeerTakesIt(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(asPeerTakesIt);
  if (typeof value !== 'object' || value === null) return value;
  return new Map(Object.entries(value).map(([key, member]) => [key, asPeerTakesIt(member)]));
}

/** `null` where ours refuses to compile, or says that the request is too large. */
function answersOf(source: string, requests: readonly ExpressionContext[]): (Pair | null)[] {
  const compiled = compileCel(source);
  if (!compiled.ok) return [];
  const byPeer = plan(celEnv({ funcs: strings }), parse(source)) as (bindings: object) => unknown;
  return requests.map((request) => {
    const result = compiled.expression.evaluate(request);
    if (!result.ok && result.problem.startsWith('the request is larger')) return null;
    const bindings = Object.entries(request).map(([name, value]) => [name, asPeerTakesIt(value)]);
    const given = byPeer(Object.fromEntries(bindings) as object);
    return {
      ours: result.ok ? `${result.value}` : 'error',
      problem: result.ok ? '' : result.problem,
      peer: typeof given === 'boolean' ? `${given}` : 'error',
      peerProblem: given instanceof Error ? given.message : '',
    };
  });
}

test('property: both implementations give the same, but for what is listed', () => {
  const same = { true: 0, false: 0, error: 0 };
  fc.assert(
    fc.property(
      fc.oneof(generatedCalculation, generatedCondition),
      fc.array(generatedContext, { minLength: 3, maxLength: 3 }),
      (source, requests) => {
        const unlisted = answersOf(source, requests).filter((pair, index) => {
          const request = requests[index];
          if (pair === null || request === undefined) return false;
          if (pair.ours !== pair.peer) {
            return !DIFFERENCES.some(({ fits }) => fits(pair, source, request));
          }
          same[pair.ours] += 1;
          return false;
        });
        expect(unlisted).toEqual([]);
      },
    ),
    { numRuns: 4_000 },
  );
  // Else it has compared nothing.
  for (const count of Object.values(same)) expect(count).toBeGreaterThan(300);
});

describe('a listed difference', () => {
  test.each(DIFFERENCES)('$what: is still one', ({ example: [source, attributes], fits }) => {
    const request: ExpressionContext = {
      principal: { id: 'agent:billing', roles: ['agent'] },
      action: 'payments.capture',
      resource: { id: 'order-1', attributes: {} },
      attributes: JSON.parse(attributes) as Record<string, unknown>,
    };
    const [pair] = answersOf(source, [request]);
    if (pair === undefined || pair === null) throw new Error(`${source} does not run`);
    expect(pair.ours).not.toBe(pair.peer);
    expect(fits(pair, source, request)).toBe(true);
  });

  test('of ours is in the design document', () => {
    const rows = DIFFERENCES.flatMap(({ what, effect }) =>
      effect === null ? [] : [`| ${what} | ${effect} |`],
    );
    expect(rows.filter((row) => !DESIGN.includes(row))).toEqual([]);
  });
});
