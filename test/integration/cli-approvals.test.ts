/** `holdfast approval` and `holdfast notice` against a real control, as operators use them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlWorld, policyDocument } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';
import { recordWaiting } from '../fakes/waiting-approval.ts';
import { runQuietly } from '../fakes/run-command.ts';

let world: ControlWorld;
let host: SigningHost;
let annToken: string;

beforeAll(async () => {
  world = await ControlWorld.create();
  await world.publish(
    policyDocument({
      principals: { 'agent:billing': { roles: ['agent'] }, 'user:ann': { roles: ['security'] } },
    }),
  );
  host = await world.enrolHost();
  const body = { name: 'ann', roles: ['viewer', 'approver'] };
  annToken = String((await world.call('POST', '/v1/operators', { body })).json['token']);
  recordWaiting(host, 1, { ttlMs: 3_600_000 });
  recordWaiting(host, 2, { ttlMs: 3_600_000, showPayload: false });
  await host.reported(host.journal());
});
afterAll(() => world.dispose());

async function holdfast(...argv: string[]) {
  return run(annToken, ...argv);
}

async function run(token: string, ...argv: string[]) {
  return runQuietly(['--control', world.address, ...argv], {
    cwd: world.dataDir,
    env: { HOLDFAST_CONTROL_TOKEN: token },
  });
}

test('an approver finds what waits, looks at it, and approves it in their own name', async () => {
  const list = await holdfast('approval', 'list', '--state', 'pending');
  expect(list).toMatchObject({ exitCode: 0 });
  expect(list.out).toMatch(/apr_1 .*payments\.capture .*0 of 1/);
  const shown = await holdfast('approval', 'show', 'apr_1');
  expect(shown.out).toContain('{"amount":700}');
  expect(shown.out).toContain('capture-payment');
  const given = await holdfast('approval', 'approve', 'apr_1', '--reason', 'ticket 4711');
  expect(given).toMatchObject({ exitCode: 0 });
  expect(given.out).toContain('apr_1 is approved');
  const again = await holdfast('approval', 'show', 'apr_1', '--output', 'json');
  expect(JSON.parse(again.out)).toMatchObject({
    state: 'approved',
    votes: [{ by: expect.stringContaining('ann'), reason: 'ticket 4711' }],
  });
});

test('what cannot be decided is told with its code and the way out', async () => {
  const other = ['--reason', 'no', '--digest', '0'.repeat(64)];
  const changed = await holdfast('approval', 'deny', 'apr_2', ...other);
  expect(changed.exitCode).not.toBe(0);
  expect(changed.err).toContain('approval_changed');
  const hidden = await holdfast('approval', 'show', 'apr_2');
  expect(hidden.out).toContain('not shown');
  expect(await holdfast('approval', 'deny', 'apr_2', '--reason', 'not today')).toMatchObject({
    exitCode: 0,
  });
  const late = await holdfast('approval', 'approve', 'apr_2', '--reason', 'after all');
  expect(late.exitCode).not.toBe(0);
  expect(late.err).toContain('denied');
  const reasonless = await holdfast('approval', 'approve', 'apr_2');
  expect(reasonless).toMatchObject({ exitCode: 2 });
  expect(reasonless.err).toContain('--reason');
  const unknown = await holdfast('approval', 'show', 'apr_99');
  expect(unknown.err).toContain('apr_99');
});

test('a notice is given, shown host by host, given only once, and lifted', async () => {
  const admin = (...argv: string[]) => run(world.adminToken, 'notice', ...argv);
  const why = ['--reason', 'laptop stolen'];
  const given = await admin('revoke-principal', 'agent:mallory', ...why, '--output', 'json');
  expect(given).toMatchObject({ exitCode: 0 });
  const { noticeId } = JSON.parse(given.out) as { noticeId: string };
  const again = await admin('revoke-principal', 'agent:mallory', ...why, '--output', 'json');
  expect(JSON.parse(again.out)).toMatchObject({ noticeId });
  const shown = await admin('show', noticeId);
  expect(shown.out).toContain('0 of 1 hosts have confirmed it');
  expect(shown.out).toMatch(/may_act/);
  const wrong = await admin('revoke-credential', 'billing', ...why);
  expect(wrong.exitCode).not.toBe(0);
  expect(wrong.err).toContain('/subject');
  const lifted = await admin('lift', noticeId, '--reason', 'found again');
  expect(lifted.out).toContain('is lifted');
  expect((await admin('list', '--in-force')).out).not.toContain(noticeId);
  expect((await admin('list')).out).toContain(noticeId);
  const denied = await holdfast('notice', 'hold', 'orders/*', ...why);
  expect(denied.exitCode).not.toBe(0);
  expect(denied.err).toContain('operator');
});
