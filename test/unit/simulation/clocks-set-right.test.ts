/**
 * Two clocks that jumped may be further apart than control takes, and then it rightly hears nobody. That
 * somebody sets them belongs to healing, at every pace (I8).
 */
import { World } from '../../simulation/world.ts';
import { afterEach, expect, test } from 'vitest';
import { CLOCK_SKEW_SECONDS } from '../../../control/core/host-request.ts';
import { planOf, type Pace } from '../../simulation/plan.ts';

const SKEW_MS = CLOCK_SKEW_SECONDS * 1_000;
let world: World;
afterEach(() => world.dispose());

test.each<Pace>(['quick', 'slow'])('at the %s pace no two are too far apart', (pace) => {
  world = new World(planOf(1, 4, pace));
  const { control, hosts, faults, log } = world;
  const [first, second] = hosts;
  const wall = ({ machine }: typeof control | (typeof hosts)[number]): number =>
    machine.now().wallMs;
  first?.machine.jump(SKEW_MS + 20_000);
  second?.machine.stepWall(120_000);
  control.machine.stepWall(-120_000);
  const [bootMs, trueMs] = [first?.machine.now().bootMs, wall(control) + 120_000];
  faults.heal();
  for (const one of [control, ...hosts]) {
    expect(Math.abs(wall(one) - trueMs)).toBeLessThan(SKEW_MS / 2);
    for (const other of hosts) expect(Math.abs(wall(one) - wall(other))).toBeLessThan(SKEW_MS);
  }
  expect(first?.machine.now()).toMatchObject({ wallMs: trueMs, bootMs });
  const set = log.events.filter(({ kind }) => kind === 'clock_changed');
  expect(set).toMatchObject([{ node: 'host-1' }]);
});
