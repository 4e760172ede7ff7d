import { expect, test } from 'vitest';
import { Pacer } from '../../../control/policy/pacer.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';

test('others get their turn once a slice is used up, and not before', async () => {
  const clock = new FakeClock();
  const pacer = new Pacer(clock);
  clock.jump(7);
  await pacer.breathe();
  clock.jump(1);
  let isOver = false;
  const breath = pacer.breathe().then(() => (isOver = true));
  await clock.whenWaiting();
  expect(isOver).toBe(false);
  await clock.advance(0);
  await breath;
  clock.jump(7);
  await pacer.breathe();
  expect(clock.pendingTimers).toBe(0);
});
