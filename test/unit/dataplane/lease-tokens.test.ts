import { expect, test } from 'vitest';
import { LeaseTokens } from '../../../dataplane/authority/lease-tokens.ts';
import { FakeAuthority } from '../../fakes/fake-authority.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';

const RESOURCE = 'orders/7';

function opened() {
  const clock = new FakeClock();
  const authority = new FakeAuthority();
  let kicks = 0;
  const tokens = new LeaseTokens({
    clock,
    leases: authority.leases,
    kick: () => void (kicks += 1),
  });
  return { clock, authority, tokens, kicks: () => kicks };
}

const answer = (epoch: number) => ({
  leases: [{ resource: RESOURCE, epoch, ttlMs: 30_000 }],
  tokens: [{ resource: RESOURCE, token: `token-${epoch}` }],
});

test('who asks has control asked, waits for its answer, and gets the same one again at once', async () => {
  const { clock, authority, tokens, kicks } = opened();
  authority.hold(RESOURCE, 5, clock.now());
  const asked = tokens.token(RESOURCE, 5_000);
  expect([tokens.wanted(), kicks()]).toEqual([[RESOURCE], 1]);
  tokens.apply(answer(5), clock.now().bootMs);
  await clock.advance(100);
  expect(await asked).toEqual({ resource: RESOURCE, epoch: 5, token: 'token-5' });
  expect(await tokens.token(RESOURCE, 0)).toMatchObject({ token: 'token-5' });
  expect(kicks()).toBe(1);
});

test('I6: none is handed out for a lease that is not held, has ended, or has another epoch', async () => {
  const { clock, authority, tokens } = opened();
  expect(await tokens.token(RESOURCE, 5_000)).toBeNull();
  expect(tokens.wanted()).toEqual([]);
  authority.hold(RESOURCE, 5, clock.now());
  tokens.apply(answer(5), clock.now().bootMs);
  authority.hold(RESOURCE, 6, clock.now());
  expect(await tokens.token(RESOURCE, 0)).toBeNull();
  tokens.apply(answer(6), clock.now().bootMs);
  expect(await tokens.token(RESOURCE, 0)).toMatchObject({ epoch: 6 });
  await clock.advance(30_000);
  expect(await tokens.token(RESOURCE, 0)).toBeNull();
});

test('what nobody asks for any more is not asked of control', async () => {
  const { clock, authority, tokens } = opened();
  authority.hold(RESOURCE, 5, clock.now(), 600_000);
  await tokens.token(RESOURCE, 0);
  expect(tokens.wanted()).toEqual([RESOURCE]);
  await clock.advance(120_001);
  expect(tokens.wanted()).toEqual([]);
});
