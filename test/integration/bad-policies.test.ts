/** I11: a document that is wrong is refused at its place, with a way out, and gets no number. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkPolicy } from '../../shared/platform/policy-gate.ts';
import { BAD_POLICIES, GOOD_POLICY } from '../data/bad-policies.ts';
import { ControlWorld } from '../fakes/control-world.ts';

let world: ControlWorld;
beforeAll(async () => {
  world = await ControlWorld.create();
  const published = await world.publish(GOOD_POLICY);
  expect(published.json).toMatchObject({ outcome: 'published', policyRevision: 1 });
});
afterAll(() => world.dispose());

test('the corpus is large, and its names differ', () => {
  const names = new Set(BAD_POLICIES.map(({ name }) => name));
  expect(names.size).toBe(BAD_POLICIES.length);
  expect(names.size).toBeGreaterThanOrEqual(60);
});

test.for(BAD_POLICIES)('$name', async ({ format, bytes, code, path, suggests }) => {
  const check = checkPolicy(bytes, format);
  expect(check).toMatchObject({ ok: false, code });
  const problems = check.ok ? [] : check.problems;
  expect(problems.map((problem) => problem.path)).toContain(path);
  const found = problems.find((problem) => problem.path === path);
  expect(found?.message).toContain(suggests);
  // Nothing else is said of a document with one fault.
  for (const problem of problems) expect(problem.path.startsWith(path)).toBe(true);

  const response = await fetch(`${world.address}/v1/policy`, {
    method: 'PUT',
    headers: {
      authorization: `Bearer ${world.adminToken}`,
      'content-type': `application/${format}`,
      'if-match': '"1"',
    },
    body: typeof bytes === 'string' ? bytes : new Uint8Array(bytes),
  });
  const answer = (await response.json()) as { code: string; errors?: unknown[] };
  expect([response.status, answer.code]).toEqual([
    { policy_invalid: 422, invalid_json: 400, invalid_yaml: 400, body_too_large: 413 }[code],
    code,
  ]);
  const inForce = await world.get('/v1/policy');
  expect(inForce.json).toMatchObject({ policyRevision: 1, policy: GOOD_POLICY });
});
