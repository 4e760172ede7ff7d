/**
 * One run: the fleet comes up, works while faults happen, is healed, and must come to rest. Gives its
 * history.
 */
// First: what it replaces must be replaced before anything else is loaded.
import { beginAnew } from './engine/determinism.ts';
import { finalControl, finalJournals } from './final-state.ts';
import type { History, Liveness } from './history.ts';
import type { Plan, PlannedTask } from './plan.ts';
import { World } from './world.ts';

const START_BOUND_MS = 120_000;
const LOOK_EVERY_MS = 30_000;
const LIVENESS_BOUND_MS = 45 * 60_000;
const LIVENESS_LOOK_MS = 30_000;
const QUIET_LOOKS = 2;
const UNDRAIN_LOOKS = 10;
const STOP_BOUND_MS = 60_000;
const WORKERS_PER_HOST = 1;

export type RunCounts = { readonly steps: number; readonly simulatedMs: number };

export async function simulate(plan: Plan): Promise<{ history: History; counts: RunCounts }> {
  beginAnew();
  const world = new World(plan);
  try {
    await begin(world, plan);
    await safety(world, plan);
    const liveness = await settleDown(world, plan);
    await end(world);
    const history: History = {
      terms: plan.terms,
      events: world.log.events,
      final: {
        journals: world.hosts.flatMap((host) =>
          finalJournals(host.disk.directory, {
            host: host.name,
            hostId: world.control.watch.hostId(host.name) ?? '',
          }),
        ),
        control: await finalControl(world.control.disk.directory),
        liveness,
      },
    };
    const { steps, nowMs } = world.agenda;
    return { history, counts: { steps, simulatedMs: nowMs } };
  } finally {
    await world.bury();
    world.dispose();
  }
}

/** Runs `work` while time goes on; throws where it has not ended within the bound. */
async function until(world: World, boundMs: number, work: () => Promise<unknown>): Promise<void> {
  let isDone = false;
  let failure: Error | null = null;
  const failed = (error: unknown): void => {
    failure = error instanceof Error ? error : new Error(String(error));
  };
  void work()
    .catch(failed)
    .finally(() => {
      isDone = true;
    });
  await world.agenda.run(world.agenda.nowMs + boundMs, () => isDone);
  if (failure !== null) throw failure as Error;
  if (!isDone) throw new Error(`the simulation did not come on within ${boundMs} ms`);
}

async function begin(world: World, plan: Plan): Promise<void> {
  const { control, hosts, operators, agenda } = world;
  world.log.add({ kind: 'phase', phase: 'safety' });
  await until(world, START_BOUND_MS, async () => {
    await control.start();
    while (!(await operators.addApprovers())) await agenda.sleep(1_000);
    while (!(await operators.publishFirst(plan.seed))) await agenda.sleep(1_000);
    for (const host of hosts) {
      while (!(await host.enrol())) await agenda.sleep(1_000);
      await host.start();
    }
  });
}

async function safety(world: World, plan: Plan): Promise<void> {
  const { agenda, hosts, apps, faults } = world;
  const startedMs = agenda.nowMs;
  const endsMs = startedMs + plan.terms.safetyMs;
  for (const task of plan.tasks) agenda.at(startedMs + task.atMs, () => void perform(world, task));
  for (const fault of plan.faults) agenda.at(startedMs + fault.atMs, () => faults.begin(fault));
  hosts.forEach((host, index) => {
    for (let n = 0; n < WORKERS_PER_HOST; n += 1)
      void apps.worker(host, plan.seed * 10 + index, () => world.isOver);
  });
  const look = (): void => {
    if (agenda.nowMs >= endsMs) return;
    for (const host of hosts) void world.look(host);
    agenda.after(LOOK_EVERY_MS * plan.terms.stretch, look);
  };
  look();
  await agenda.run(endsMs);
}

function perform(world: World, { kind, host: index, id, seed }: PlannedTask): Promise<void> {
  const { apps, edges, drills, operators, hosts } = world;
  const host = hosts[index % hosts.length];
  if (host === undefined) return Promise.resolve();
  switch (kind) {
    case 'order':
      return apps.order(host, id, seed);
    case 'look':
      return apps.look(host, seed);
    case 'keep':
      // Now and then two at once, each over what it has read.
      if (seed % 3 === 0) void apps.keep(host, seed + 1);
      return apps.keep(host, seed);
    case 'publish':
      return operators.publish(seed);
    case 'rollout':
      return operators.orderRollout(seed);
    case 'approvals':
      return operators.decideApprovals(seed);
    case 'move':
      return operators.moveLease(seed);
    case 'drain':
      return operators.drain(host, true);
    case 'undrain':
      return operators.drain(host, false);
    case 'settle':
      return operators.settleUnknown(host, seed);
    case 'burst':
      return edges.burst(hosts, id, seed);
    case 'expiry':
      return edges.expiry(host, seed);
    case 'drill':
      return drills.run(index % hosts.length, id, seed);
  }
}

/** Nothing is broken any more and nothing new is asked for: everything must come to an end. */
async function settleDown(world: World, { terms: { stretch } }: Plan): Promise<Liveness> {
  const boundMs = LIVENESS_BOUND_MS * stretch;
  const { agenda, log, faults, apps, hosts, operators } = world;
  log.add({ kind: 'phase', phase: 'heal' });
  faults.heal();
  apps.isCalm = true;
  await world.bury();
  log.add({ kind: 'phase', phase: 'liveness' });
  const healedMs = agenda.nowMs;
  let unsettled: string[] = ['nobody has looked yet'];
  let quiet = 0;
  let looks = 0;
  const work = async (): Promise<void> => {
    while (quiet < QUIET_LOOKS) {
      await agenda.sleep(LIVENESS_LOOK_MS * stretch);
      looks += 1;
      // One that nobody hears is asked again.
      for (const host of hosts) if (looks % UNDRAIN_LOOKS === 1) await operators.drain(host, false);
      for (const host of hosts) await operators.settleUnknown(host, looks, { waits: true });
      await operators.decideApprovals(looks);
      unsettled = await whatIsUnsettled(world);
      quiet = unsettled.length === 0 ? quiet + 1 : 0;
    }
  };
  await until(world, boundMs, work).catch((error: unknown) => {
    if (unsettled.length === 0) throw error;
  });
  return {
    isSettled: unsettled.length === 0,
    tookMs: agenda.nowMs - healedMs,
    boundMs,
    unsettled,
  };
}

/** Control does not know it, and will not by itself. */
const NOT_ENROLLED = /^host_(unknown|epoch_stale):/;
const ENDED = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

async function whatIsUnsettled(world: World): Promise<string[]> {
  const found: string[] = [];
  const { control, hosts } = world;
  if (!control.isUp) found.push('control does not run');
  for (const host of hosts) {
    const status = await world.look(host);
    if (status === null) {
      found.push(`${host.name} does not serve`);
      continue;
    }
    const { journal, control: link, policy } = status;
    for (const [state, count] of Object.entries(journal.operations))
      if (count > 0 && !ENDED.has(state)) found.push(`${host.name}: ${count} ${state}`);
    if (link.state !== 'connected') found.push(`${host.name}: control is ${link.state}`);
    // Enrolled anew after the copy was made that control was put back to.
    const { lastError } = link;
    if (link.state === 'refused' && lastError !== null && NOT_ENROLLED.test(lastError))
      void host.giveUp(lastError);
    if (link.outage !== null) found.push(`${host.name}: ${link.outage.outageId} is open`);
    if (policy.activeRevision === null) found.push(`${host.name}: no policy`);
    if (journal.ackedSeq < journal.seq) {
      found.push(`${host.name}: control holds ${journal.ackedSeq} of ${journal.seq} entries`);
      const stopped = await world.reportsStopped(host);
      if (stopped !== null) void host.giveUp(stopped);
    }
  }
  return found;
}

async function end(world: World): Promise<void> {
  const { log, control, hosts } = world;
  world.isOver = true;
  await until(world, STOP_BOUND_MS, async () => {
    await Promise.all(hosts.map((host) => host.stop()));
    await control.stop();
  });
  log.add({ kind: 'phase', phase: 'over' });
  await world.bury();
}
