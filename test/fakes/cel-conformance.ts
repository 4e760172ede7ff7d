/**
 * The conformance data of the CEL specification (npm `@bufbuild/cel-spec`), each test run against
 * the environment in which policy expressions run.
 */
import {
  getConformanceSuite,
  type IncrementalTest,
  type IncrementalTestSuite,
} from '@bufbuild/cel-spec/testdata/tests.js';
import type { Environment } from '@marcbachmann/cel-js';
import { checkCost } from '../../shared/platform/cel-cost.ts';
import { environment } from '../../shared/platform/cel.ts';

type SimpleTest = IncrementalTest['original'];
type ExprValue = SimpleTest['bindings'][string];
type Value = Extract<ExprValue['kind'], { case: 'value' }>['value'];

export type ConformanceTest = {
  /** `lists/concatenation/list_append`. */
  readonly name: string;
  readonly test: SimpleTest;
};

export type Verdict =
  | { readonly verdict: 'agrees' }
  /** About protobuf messages, or an extension, which policy does not have. */
  | { readonly verdict: 'foreign' }
  /** A function or form that `cel-cost.ts` refuses. */
  | { readonly verdict: 'refused'; readonly why: string }
  | { readonly verdict: 'differs'; readonly how: string };

export function conformanceTests(): ConformanceTest[] {
  const flat = (suite: IncrementalTestSuite, path: readonly string[]): ConformanceTest[] => [
    ...suite.tests.map(({ original }) => ({
      name: [...path, original.name].join('/'),
      test: original,
    })),
    ...suite.suites.flatMap((inner) => flat(inner, [...path, inner.name])),
  ];
  return flat(getConformanceSuite(), []);
}

class Foreign extends Error {}

const EXTENSIONS = /^(optionals|block_ext|macros2|proto2_ext)\//;

export function runConformance({ name, test }: ConformanceTest): Verdict {
  if (EXTENSIONS.test(name)) return { verdict: 'foreign' };
  try {
    return judge(test);
  } catch (error) {
    if (error instanceof Foreign) return { verdict: 'foreign' };
    throw error;
  }
}

/** Of a message, or declared by one: a policy never has these. */
const MESSAGES = /TestAllTypes|google\.protobuf\.[A-Z]|NestedEnum|GlobalEnum|cel\.@|\{[a-z_]+:/;

function judge(test: SimpleTest): Verdict {
  if (MESSAGES.test(test.expr) || test.container !== '' || test.disableMacros) throw new Foreign();
  const expected = expectedOf(test);
  const values = Object.fromEntries(
    Object.entries(test.bindings).map(([name, { kind }]) => {
      if (kind.case !== 'value') throw new Foreign();
      return [name, nativeOf(kind.value)];
    }),
  );
  let inScope: Environment = environment;
  for (const { name, declKind } of test.typeEnv) {
    if (declKind.case !== 'ident' || name.includes('.')) throw new Foreign();
    inScope = inScope.clone().registerVariable(name, 'dyn');
  }
  let parsed: ReturnType<Environment['parse']>;
  try {
    parsed = inScope.parse(test.expr);
  } catch (error) {
    return compared(expected, error);
  }
  const cost = checkCost(parsed.ast);
  if (!cost.ok) return { verdict: 'refused', why: cost.problem };
  const checked = parsed.check();
  if (!checked.valid) return compared(expected, checked.error);
  if (test.checkOnly) throw new Foreign();
  try {
    return compared(expected, { value: parsed(values) as unknown });
  } catch (error) {
    return compared(expected, error);
  }
}

type Expected = { readonly value: unknown } | null;

/** `null`: an error. */
function expectedOf({ resultMatcher }: SimpleTest): Expected {
  switch (resultMatcher.case) {
    case 'value':
      return { value: nativeOf(resultMatcher.value) };
    case 'evalError':
    case 'anyEvalErrors':
      return null;
    case undefined:
      // The specification's own default.
      return { value: true };
    default:
      throw new Foreign();
  }
}

function nativeOf({ kind }: Value): unknown {
  switch (kind.case) {
    case 'int64Value':
    case 'doubleValue':
    case 'stringValue':
    case 'boolValue':
    case 'bytesValue':
      return kind.value;
    case 'uint64Value':
      return environment.evaluate(`${kind.value}u`) as unknown;
    case 'nullValue':
      return null;
    case 'typeValue':
      return `type ${kind.value}`;
    case 'listValue':
      return kind.value.values.map(nativeOf);
    case 'mapValue':
      return new Map(
        kind.value.entries.map(({ key, value }) => {
          if (key === undefined || value === undefined) throw new Foreign();
          return [nativeOf(key), nativeOf(value)];
        }),
      );
    default:
      throw new Foreign();
  }
}

function compared(expected: Expected, given: unknown): Verdict {
  const isValue = typeof given === 'object' && given !== null && 'value' in given;
  if (expected === null) {
    return isValue
      ? { verdict: 'differs', how: `gives ${plainText(given.value)} instead of an error` }
      : { verdict: 'agrees' };
  }
  if (!isValue) {
    const message = given instanceof Error ? (given.message.split('\n')[0] ?? '') : String(given);
    return { verdict: 'differs', how: `fails: ${message}` };
  }
  const [wanted, got] = [plainText(expected.value), plainText(given.value)];
  return wanted === got
    ? { verdict: 'agrees' }
    : { verdict: 'differs', how: `gives ${got} instead of ${wanted}` };
}

/** One text for one CEL value; maps in the order of their keys. */
function plainText(value: unknown): string {
  if (typeof value === 'bigint') return `${value}`;
  if (typeof value === 'number') return `double ${Object.is(value, -0) ? '-0' : value}`;
  if (value instanceof Uint8Array) return `bytes ${[...value].join()}`;
  if (Array.isArray(value)) return `[${value.map(plainText).join()}]`;
  if (typeof value === 'string' && value.startsWith('type ')) return value;
  if (typeof value === 'object' && value !== null) return objectText(value);
  return JSON.stringify(value) ?? 'undefined';
}

function objectText(value: object): string {
  const name = value.constructor.name;
  if (name === 'UnsignedInt') return `uint ${(value as { valueOf(): bigint }).valueOf()}`;
  if (name === 'Type') return `type ${(value as { name: string }).name}`;
  if (name !== 'Map' && name !== 'Object') return name;
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return `{${entries
    .map(([key, member]) => `${plainText(key)}:${plainText(member)}`)
    .toSorted()
    .join()}}`;
}
