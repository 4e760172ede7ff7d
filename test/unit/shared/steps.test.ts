/** A long computation in slices gives what it gives at once, and lets others have the thread. */
import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { canonicalJson, canonicalJsonSteps } from '../../../shared/core/canonical-json.ts';
import { runPolicyTests, runPolicyTestsSteps } from '../../../shared/core/policy-lints.ts';
import { finish, type Steps } from '../../../shared/core/steps.ts';
import {
  checkPolicyValue,
  checkPublishedPolicySteps,
} from '../../../shared/platform/policy-gate.ts';
import { runInSlices } from '../../../shared/platform/slices.ts';
import type { PolicyDocument } from '../../../shared/wire/policy-document.ts';

const RULES = 600;

function documentOf(change: (rule: Record<string, unknown>, at: number) => unknown): unknown {
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:a': { roles: ['r'] } },
    rules: Array.from({ length: RULES }, (_, at) =>
      change({ name: `r${at}`, actions: [`a.b${at}`], permit: [{ expression: 'true' }] }, at),
    ),
  };
}

/** How often it would have paused. */
function pausesOf(steps: Steps<unknown>): number {
  let pauses = 0;
  while (steps.next().done !== true) pauses += 1;
  return pauses;
}

test('the canonical text is the same, whatever the value', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      expect(finish(canonicalJsonSteps(value))).toBe(canonicalJson(value));
    }),
  );
  const list = { b: Array.from({ length: 500 }, (_, at) => ({ at })), a: [], u: undefined };
  expect(finish(canonicalJsonSteps(list))).toBe(canonicalJson(list));
});

describe('a document whose rules are checked in parts', () => {
  test('passes as a whole, with pauses throughout', () => {
    const document = documentOf((rule) => rule) as PolicyDocument;
    const check = checkPolicyValue(document);
    expect(check.ok && check.document).toBe(document);
    expect(check.ok && check.compiled.rules).toHaveLength(RULES);
    expect(pausesOf(checkPublishedPolicySteps(document))).toBeGreaterThan(RULES / 8);
  });

  test.each([0, 255, 256, 511, 599])('is refused for rule %i alone, at its place', (wrong) => {
    const check = checkPolicyValue(
      documentOf((rule, at) => (at === wrong ? { ...rule, permitt: 1 } : rule)),
    );
    expect(check).toMatchObject({
      ok: false,
      problems: [{ path: `/rules/${wrong}/permitt`, message: expect.stringContaining('permit') }],
    });
  });

  test('is refused for what is beside the rules, and for too many of them', () => {
    const rest = documentOf((rule) => rule) as Record<string, unknown>;
    expect(checkPolicyValue({ ...rest, kind: 'Pollicy' })).toMatchObject({ ok: false });
    const rules = Array.from({ length: 10_001 }, () => (rest['rules'] as unknown[])[0]);
    expect(checkPolicyValue({ ...rest, rules })).toMatchObject({ ok: false });
  });
});

test('the tests of a document give the same in steps, each with a pause after it', () => {
  const document = documentOf((rule) => rule) as PolicyDocument;
  const given = { principal: 'agent:a', action: 'a.b7' };
  const tests = ['permit', 'deny'].map((decision) => ({
    name: decision,
    given,
    expect: { decision },
  })) as NonNullable<PolicyDocument['tests']>;
  const check = checkPolicyValue(document);
  if (!check.ok) throw new Error('the document is good');
  const tested = { ...document, tests };
  const problems = runPolicyTests(tested, check.compiled);
  expect(problems.map(({ path }) => path)).toEqual(['/tests/1']);
  expect(pausesOf(runPolicyTestsSteps(tested, check.compiled))).toBe(2);
});

test('the thread is given up once a slice has had its time, and only then', async () => {
  let nowMs = 0;
  function* work(steps: number): Steps<string> {
    for (let step = 0; step < steps; step += 1) {
      nowMs += 1;
      yield;
    }
    return 'done';
  }
  let pauses = 0;
  const pause = (): Promise<void> => Promise.resolve(void (pauses += 1));
  expect(await runInSlices(work(3), pause, () => nowMs)).toBe('done');
  expect(pauses).toBe(0);
  expect(await runInSlices(work(20), pause, () => nowMs)).toBe('done');
  expect(pauses).toBe(5);
});
