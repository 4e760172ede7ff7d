/**
 * A revision that kills whoever puts it in force, rolled out by stages: a real control, and three
 * real sidecars that are started again whenever they die. Two of them are canaries, and work is
 * asked of all three all the time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UnreachableError, openControl, type ControlClient } from '../../shared/client/index.ts';
import type { FleetHost } from '../../shared/wire/rollout.ts';
import { adminTokenIn, startControl, type ControlProcess } from '../fakes/control-process.ts';
import { overhearControl, type OverheardControl } from '../fakes/overheard-control.ts';
import { SupervisedSidecar } from '../fakes/supervised-sidecar.ts';
import { runHoldfast } from './cli-processes.ts';

const POLL_MS = 30;
const PATIENCE_MS = 60_000;
const JOB = { principal: 'agent:worker', action: 'jobs.run' };
const GOOD = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  description: 'known to be good',
  principals: { 'agent:worker': { roles: ['worker'] } },
  rules: [
    {
      name: 'run-job',
      actions: ['jobs.run'],
      permit: [{ expression: '"worker" in principal.roles' }],
      freshness: 'bounded',
      maxStaleness: '1h',
      deadline: '1h',
      maxDeadline: '1h',
    },
  ],
};
const DEADLY = { ...GOOD, description: 'kills whoever puts it in force' };

let directory: string;
let daemon: ControlProcess;
let control: ControlClient;
let controlUrl: string;
/** Between control and two of the hosts. */
let wires: { readonly victim: OverheardControl; readonly bystander: OverheardControl };
const sidecars: SupervisedSidecar[] = [];
const works: Work[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rollout-crash-'));
  const data = join(directory, 'control');
  const rollout = ['--rollout', 'staged', '--rollout-stages', 'canary=true/100ms,100%'];
  daemon = startControl(data, ...rollout);
  controlUrl = await daemon.listening;
  control = openControl({ endpoint: controlUrl, token: adminTokenIn(data) });
  wires = {
    victim: await overhearControl(controlUrl),
    bystander: await overhearControl(controlUrl),
  };
});
afterEach(async () => {
  await Promise.allSettled(works.map((work) => work.stop()));
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  await Promise.all(Object.values(wires).map((wire) => wire.close()));
  await control.close();
  await daemon.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) {
      // A piece of work that was refused says more.
      for (const work of works) await work.stop();
      const fates = sidecars.map(({ name, ends }) => `${name}: ${ends.join(', ') || 'runs'}`);
      throw new Error(`it never came to be: ${what} (${fates.join('; ')})`);
    }
    await delay(POLL_MS);
  }
}

async function enrol(
  name: string,
  options: {
    readonly isCanary?: boolean;
    readonly failpoints?: string;
    readonly beforeRestart?: () => Promise<unknown>;
    readonly url?: string;
  },
): Promise<SupervisedSidecar> {
  const { isCanary = false, url = controlUrl, ...others } = options;
  const settings = {
    HOLDFAST_SYNC_INTERVAL: '200ms',
    ...(isCanary ? { HOLDFAST_LABELS: 'canary=true' } : {}),
  };
  const parts = { directory, name, controlUrl: url, settings, ...others };
  const sidecar = await SupervisedSidecar.enrol(control, parts);
  sidecars.push(sidecar);
  return sidecar;
}

const fleet = async (): Promise<ReadonlyMap<string, FleetHost>> =>
  new Map((await control.fleet()).items.map((host) => [host.hostName, host]));

/** As the host says, and as control says of it. */
const allRun = (policyRevision: number) => async (): Promise<boolean> =>
  [...(await fleet()).values()].filter(
    (host) =>
      host.policyRevision === policyRevision &&
      host.targetRevision === policyRevision &&
      host.state === 'connected' &&
      host.lag === null,
  ).length === sidecars.length;

type Admitted = {
  readonly operationId: string;
  readonly policyRevision: number;
  /** Which run of the sidecar it was, from 1. */
  readonly run: number;
};

/** An app that has one job after the other accepted; of a sidecar that dies it asks again. */
class Work {
  readonly admitted: Admitted[] = [];
  readonly #sidecar: SupervisedSidecar;
  readonly #ended: Promise<void>;
  #isStopped = false;

  constructor(sidecar: SupervisedSidecar) {
    this.#sidecar = sidecar;
    this.#ended = this.#run();
    this.#ended.catch(() => {});
    works.push(this);
  }

  revisions(): number[] {
    return [...new Set(this.admitted.map(({ policyRevision }) => policyRevision))];
  }

  /** Fails as the work has. */
  stop(): Promise<void> {
    this.#isStopped = true;
    return this.#ended;
  }

  async #run(): Promise<void> {
    const { client, name, runs, isArmed } = this.#sidecar;
    while (!this.#isStopped) {
      try {
        const idempotencyKey = `${name}-${this.admitted.length}`;
        const { operation } = await client.admit(JOB, { idempotencyKey });
        const { operationId, policyRevision } = operation;
        this.admitted.push({ operationId, policyRevision, run: runs.length });
      } catch (error) {
        if (!isArmed || !(error instanceof UnreachableError)) throw error;
      }
      await delay(POLL_MS);
    }
  }
}

/** What is worked on once the fleet has its good document back. */
async function acceptBefore({ client, name }: SupervisedSidecar): Promise<() => Promise<string>> {
  const { operation } = await client.admit(JOB, { idempotencyKey: `before-${name}` });
  expect(operation).toMatchObject({ state: 'accepted', policyRevision: 1 });
  const { operationId } = operation;
  return async () => {
    const { attempt } = await client.startAttempt(operationId);
    return (await client.reportOutcome({ operationId, attempt }, { outcome: 'succeeded' })).state;
  };
}

/** What a person who comes afterwards is told. */
async function expectTold(): Promise<void> {
  const reason =
    'host victim could not apply it: quarantined: the sidecar ended 2 times while putting it in force';
  expect(await control.rollout()).toMatchObject({
    policyRevision: 2,
    baseRevision: 1,
    state: 'halted',
    stage: 1,
    returnRevision: 3,
    reason,
  });
  const inForce = await control.policy();
  expect([inForce.policyRevision, inForce.policy]).toEqual([3, GOOD]);
  const audit = (await control.audit({ limit: 500 })).items
    .filter(({ action }) => action.startsWith('policy.r'))
    .toReversed();
  expect(audit).toMatchObject([
    {
      actor: 'control',
      action: 'policy.rollout.halted',
      target: 'policy/2',
      detail: { state: 'halted', stage: 1, baseRevision: 1, reason },
    },
    {
      actor: 'control',
      action: 'policy.returned',
      target: 'policy/3',
      detail: { documentOf: 1, halted: 2 },
    },
  ]);
  const tokenFile = join(directory, 'control', 'admin.token');
  const flags = ['--control', controlUrl, '--control-token-file', tokenFile];
  const shown = await runHoldfast(directory, 'fleet', ...flags);
  expect(shown.err).toBe('');
  const rows = shown.out.split('\n').map((row) => row.split(/\s+/));
  for (const { name } of sidecars) {
    const row = rows.find((cells) => cells.includes(name));
    const facts = row?.filter((cell) => ['connected', '2', '3'].includes(cell));
    expect(facts, shown.out).toEqual(['connected', '3', '3']);
  }
}

test(
  'I11: a revision that kills sidecars reaches canaries only, is halted, and they serve again by themselves',
  { timeout: 180_000 },
  async () => {
    await control.publishPolicy(JSON.stringify(GOOD), { format: 'json', replaces: null });
    // It dies with it on its disk, boots it, and has to come back from it as well.
    const survivor = await enrol('survivor', {
      isCanary: true,
      failpoints: 'policy.before_swap=kill@1 of 2',
    });
    const victim = await enrol('victim', {
      isCanary: true,
      failpoints: 'policy.before_compile=kill@1 of 2',
      url: wires.victim.url,
      beforeRestart: async () => {
        // First the other canary is to have it in force; then control is not to know of the end.
        if (victim.ends.length > 1) wires.victim.isCut = true;
        else await until(survivorRunsIt, 'a canary that runs revision 2');
      },
    });
    const survivorRunsIt = async (): Promise<boolean> =>
      (await fleet()).get('survivor')?.policyRevision === 2;
    const bystander = await enrol('bystander', { url: wires.bystander.url });
    await until(allRun(1), 'revision 1 on all');
    const finishing = [];
    for (const sidecar of sidecars) finishing.push(await acceptBefore(sidecar));
    const work = new Map(sidecars.map((sidecar) => [sidecar, new Work(sidecar)]));

    const published = await control.publishPolicy(JSON.stringify(DEADLY), {
      format: 'json',
      replaces: 1,
    });
    expect(published).toMatchObject({ policyRevision: 2, rollout: 'staged' });
    const targets = new Set<unknown>();
    const look = async (): Promise<void> => {
      targets.add((await fleet()).get('bystander')?.targetRevision);
      targets.add((await bystander.client.status()).policy.activeRevision);
    };
    // Out of reach of control, which knows nothing yet: it serves on what was good before.
    await until(async () => {
      await look();
      return work.get(victim)?.admitted.some(({ run }) => run === 3) ?? false;
    }, 'the one that died twice serves again');
    expect(await control.rollout()).toMatchObject({ state: 'running', stage: 1, selected: 2 });
    wires.victim.isCut = false;

    await until(async () => {
      await look();
      return (await control.rollout()).returnRevision !== null;
    }, 'control halts it and returns');
    await until(allRun(3), 'revision 3 on all');
    await until(
      async () => works.every((one) => one.revisions().includes(3)),
      'new work under revision 3 on all',
    );
    await Promise.all(works.map((one) => one.stop()));
    expect(await Promise.all(finishing.map((finish) => finish()))).toEqual(
      Array(sidecars.length).fill('succeeded'),
    );

    // Of the two that die: as often as it takes, and nothing by hand.
    expect(victim.ends).toEqual(['SIGKILL', 'SIGKILL']);
    expect(victim.policies()).toEqual([
      '1 in force',
      '1 in force, from disk',
      '2 rejected',
      '1 in force, from disk',
      '3 in force',
    ]);
    expect(survivor.ends).toEqual(['SIGKILL']);
    expect(survivor.policies()).toEqual(['1 in force', '2 in force, from disk', '3 in force']);
    for (const [{ client, name }, { admitted }] of work) {
      for (const { operationId } of admitted) {
        expect(await client.operation(operationId), name).toMatchObject({ state: 'accepted' });
      }
    }
    // I3: the one that never got it in force admitted nothing under it.
    expect(work.get(victim)?.revisions()).toEqual([1, 3]);
    expect([...new Set(wires.victim.told)]).toEqual([1, 2, 3]);

    // The third was never told of it, let alone ran it, and never stopped serving.
    expect([...new Set(wires.bystander.told)]).toEqual([1, 3]);
    expect([...targets]).not.toContain(2);
    expect(bystander.ends).toEqual([]);
    expect(bystander.policies()).toEqual(['1 in force', '3 in force']);
    expect(work.get(bystander)?.revisions()).toEqual([1, 3]);

    await expectTold();
  },
);
