/**
 * The model's control is held against the real one: the same syncs, restarts and restored copies in
 * random order, and both must answer the same. Then what the model proves is said of the daemon.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { grantorTermMs } from '../../control/core/lease-transition.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import type { SigningHost } from '../fakes/signing-host.ts';
import {
  newControl,
  startRun,
  takeSync,
  type ControlSide,
  type Disk,
} from '../model/control-side.ts';
import { TRUE_LAWS, type Laws } from '../model/laws.ts';
import { RESOURCE } from '../model/terms.ts';

const STEPS = 60;
const STEP_MS_MAX = 8_000;
const TTL_MS = 10_000;
const DRIFT = 0.1;
/** The daemon takes no lease that is as short as those of the model. */
const LAWS: Laws = {
  ...TRUE_LAWS,
  terms: (terms) => ({
    ...terms,
    ttlMs: TTL_MS,
    drift: DRIFT,
    longestTermMs: grantorTermMs({ ttlMs: TTL_MS, drift: DRIFT }),
  }),
};

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create({ leaseTtl: `${TTL_MS}ms`, drift: DRIFT });
});
afterEach(() => world.dispose());

type Host = {
  readonly host: SigningHost;
  held: number | null;
  seen: number;
  runId: number | null;
};

/** One random sync of one host; the answer of both, without the words for people. */
async function expectSameSync(before: ControlSide, one: Host, random: FakeRandom) {
  const ref = one.held === null ? [] : [{ resource: RESOURCE, epoch: one.held }];
  const isGivenUp = random.unit() < 0.2;
  const leases = {
    renew: isGivenUp ? [] : ref,
    release: isGivenUp ? ref : [],
    acquire: ref.length === 0 && random.unit() < 0.8 ? [RESOURCE] : [],
  };
  const real = await one.host.syncOnce({ ...leases, highWater: { epoch: one.seen } });
  const asked = { host: one.host.id, leases, highWaterEpoch: one.seen, runId: one.runId };
  const { control, decision } = takeSync(before, asked, LAWS);
  const { leases: granted, lost, pending } = decision;
  expect({ leases: real.leases, lost: real.lost, pending: real.pending }).toEqual({
    leases: granted,
    lost,
    pending,
  });
  const epoch = granted[0]?.epoch ?? null;
  if (lost.length > 0 || isGivenUp) one.held = null;
  if (epoch !== null) one.held = epoch;
  one.seen = Math.max(one.seen, epoch ?? 0);
  one.runId = control.runId;
  return control;
}

test.each([1, 2, 3, 4, 5, 6])(
  'I6, I7: the model answers as the daemon does, seed %s',
  async (seed) => {
    const random = new FakeRandom(seed);
    const { bootMs, wallMs } = world.clock.now();
    let control = newControl({ rate: 'fast', bootMs, wallMs, runId: 0 }, LAWS);
    const hosts: Host[] = [];
    for (const name of ['host-1', 'host-2', 'host-3'])
      hosts.push({ host: await world.enrolHost(name), held: null, seen: 0, runId: null });
    const ids = hosts.map(({ host }) => host.id);
    const present = (): ControlSide => ({ ...control, ...timesOf(world) });
    const diskOf = ({ store, floor, mark }: ControlSide): Disk => ({ store, floor, mark });
    const start = (disk: Disk): void => {
      control = startRun({ ...present(), runId: control.runId + 1 }, disk, ids, LAWS);
    };
    let copy: { restore: () => Promise<void>; disk: Disk; all: boolean } | null = null;
    for (let step = 0; step < STEPS; step += 1) {
      await world.clock.advance(random.below(STEP_MS_MAX));
      const draw = random.unit();
      if (draw < 0.05) {
        await world.restart();
        start(diskOf(control));
      } else if (draw < 0.1 && copy === null) {
        const all = random.unit() < 0.5;
        const disk = diskOf(control);
        copy = { restore: await world.backUp({ all }), disk, all };
        start(disk);
      } else if (draw < 0.15 && copy !== null) {
        await copy.restore();
        start(copy.all ? copy.disk : { ...diskOf(control), store: copy.disk.store });
        copy = null;
      } else {
        const one = hosts[random.below(hosts.length)];
        if (one !== undefined) control = await expectSameSync(present(), one, random);
      }
    }
    if (copy !== null) await copy.restore();
    expect(control.store.highestEpoch).toBeGreaterThan(0);
  },
);

function timesOf({ clock }: ControlWorld): { readonly bootMs: number; readonly wallMs: number } {
  const { bootMs, wallMs } = clock.now();
  return { bootMs, wallMs };
}
