/**
 * Budgets of the fleet with the real daemons: two sidecars use all that they can get of a quota and
 * of a concurrency, while control and then one of them are killed and started again.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { claimPort } from '../../control/cli/dev/free-port.ts';
import {
  ProblemError,
  UnreachableError,
  openControl,
  type ControlClient,
} from '../../shared/client/index.ts';
import { ControlProcess, adminTokenIn } from '../fakes/control-process.ts';
import { SupervisedSidecar } from '../fakes/supervised-sidecar.ts';

const POLL_MS = 20;
const PATIENCE_MS = 60_000;
const QUOTA = 200;
const SLOTS = 6;
const PRINCIPAL = 'agent:worker';
const rule = (name: string, action: string, limits: object) => ({
  name,
  actions: [action],
  permit: [{ expression: 'true' }],
  maxStaleness: '1h',
  deadline: '1h',
  maxDeadline: '1h',
  limits: { scope: 'fleet', ...limits },
});
const POLICY = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { [PRINCIPAL]: { roles: ['worker'] } },
  // One window for as long as anybody runs this.
  rules: [
    rule('jobs', 'jobs.run', { quota: `${QUOTA}/9999d` }),
    rule('slots', 'slots.take', { concurrency: SLOTS }),
  ],
};

let directory: string;
let port: number;
let daemon: ControlProcess;
let control: ControlClient;
const started: SupervisedSidecar[] = [];
const users: User[] = [];

async function startControl(): Promise<void> {
  const args = ['--data-dir', join(directory, 'control'), '--listen', `127.0.0.1:${port}`];
  daemon = new ControlProcess(args);
  await daemon.listening;
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fleet-limits-'));
  port = await claimPort(0, { flag: 'the test' });
  await startControl();
  const token = adminTokenIn(join(directory, 'control'));
  control = openControl({ endpoint: `http://127.0.0.1:${port}`, token });
});
afterEach(async () => {
  await Promise.allSettled(users.map((user) => user.stop()));
  await Promise.all(started.map((sidecar) => sidecar.stop()));
  await control.close();
  await daemon.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) {
      // One that was refused for something else says more.
      for (const user of users) await user.stop();
      const facts = users.map(({ jobs, slots, open, refusals }) =>
        JSON.stringify({ jobs, slots, open: open.size, refusals: [...refusals] }),
      );
      throw new Error(`it never came to be: ${what} (${facts.join(', ')})`);
    }
    await delay(POLL_MS);
  }
}

/** Takes what there is, on one host, and ends a slot whenever there is no other. */
class User {
  readonly sidecar: SupervisedSidecar;
  readonly refusals = new Set<string>();
  /** Operations that were accepted, for good. */
  jobs = 0;
  slots = 0;
  /** From the answer to an admission to the asking for its end: there are never fewer than these. */
  readonly open = new Set<string>();
  openMax = 0;
  readonly #ended: Promise<void>;
  #count = 0;
  #isStopped = false;

  constructor(sidecar: SupervisedSidecar) {
    this.sidecar = sidecar;
    this.#ended = this.#run();
    this.#ended.catch(() => {});
    users.push(this);
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    return this.#ended;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      if ((await this.#admit('jobs.run')) !== null) this.jobs += 1;
      const taken = await this.#admit('slots.take');
      if (taken === null) {
        await this.#endOne();
      } else {
        this.slots += 1;
        this.open.add(taken);
        const all = users.reduce((sum, { open }) => sum + open.size, 0);
        this.openMax = Math.max(this.openMax, all);
      }
      await delay(POLL_MS);
    }
  }

  /** `null` where a limit refused it; asked again, under its key, while the sidecar is away. */
  async #admit(action: string): Promise<string | null> {
    const { client, name } = this.sidecar;
    this.#count += 1;
    const idempotencyKey = `${name}-${this.#count}`;
    for (;;) {
      try {
        const { operation } = await client.admit(
          { principal: PRINCIPAL, action },
          { idempotencyKey },
        );
        return operation.operationId;
      } catch (error) {
        if (error instanceof ProblemError && LIMITED.has(error.code)) {
          this.refusals.add(error.code);
          return null;
        }
        if (!(error instanceof UnreachableError)) throw error;
        if (this.#isStopped) return null;
        await delay(POLL_MS);
      }
    }
  }

  async #endOne(): Promise<void> {
    const { client } = this.sidecar;
    const [operationId] = this.open;
    if (operationId === undefined) return;
    this.open.delete(operationId);
    await this.#patiently(async () => {
      // Over a crash it is not known which step was the last.
      const { state, attempt: last } = await client.operation(operationId);
      if (state === 'succeeded') return;
      const attempt =
        state === 'accepted' ? (await client.startAttempt(operationId)).attempt : last;
      await client.reportOutcome({ operationId, attempt }, { outcome: 'succeeded' });
    });
  }

  async #patiently(step: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await step();
        return;
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
        await delay(POLL_MS);
      }
    }
  }
}

const LIMITED: ReadonlySet<string> = new Set([
  'allotment_absent',
  'quota_exhausted',
  'concurrency_limited',
]);

async function start(name: string): Promise<SupervisedSidecar> {
  const settings = { HOLDFAST_SYNC_INTERVAL: '200ms' };
  const controlUrl = `http://127.0.0.1:${port}`;
  const sidecar = await SupervisedSidecar.enrol(control, { directory, name, controlUrl, settings });
  started.push(sidecar);
  await until(async () => {
    try {
      return (await sidecar.client.status()).policy.activeRevision === 1;
    } catch (error) {
      if (error instanceof UnreachableError) return false;
      throw error;
    }
  }, `revision 1 on ${name}`);
  return sidecar;
}

async function countJobs({ client }: SupervisedSidecar): Promise<number> {
  let jobs = 0;
  for (let cursor: string | undefined; ;) {
    const page = await client.operations({
      limit: 500,
      ...(cursor === undefined ? {} : { cursor }),
    });
    jobs += page.items.filter(({ action }) => action === 'jobs.run').length;
    if (page.nextCursor === null) return jobs;
    cursor = page.nextCursor;
  }
}

const sum = (of: (user: User) => number): number => users.reduce((all, user) => all + of(user), 0);

test(
  'I3, I10: two sidecars never admit more than the budget of the fleet, with control killed in the middle, and use all of it',
  { timeout: 240_000 },
  async () => {
    await control.publishPolicy(JSON.stringify(POLICY), { format: 'json', replaces: null });
    // Both are there before either uses anything: the first would have all of it.
    const sidecars = [await start('one'), await start('other')] as const;
    const one = new User(sidecars[0]);
    const other = new User(sidecars[1]);
    await until(() => users.every(({ jobs, slots }) => jobs > 0 && slots > 0), 'parts on both');
    await daemon.kill('SIGKILL');
    expect(sum(({ jobs }) => jobs)).toBeLessThan(QUOTA);

    // What is held goes on to be used; one that is killed has its part when it is back.
    const slotsBefore = users.map(({ slots }) => slots);
    await until(
      () => users.every(({ slots }, index) => slots > (slotsBefore[index] ?? 0) + SLOTS),
      'slots taken on both while control is away',
    );
    one.sidecar.kill();
    const slotsOfOne = one.slots;
    await until(
      () => one.sidecar.runs.length === 2 && one.slots > slotsOfOne,
      'slots taken on the one that was killed',
    );
    expect((await one.sidecar.client.status()).control.state).not.toBe('connected');
    expect(sum(({ jobs }) => jobs)).toBeLessThanOrEqual(QUOTA);

    await startControl();
    await until(() => sum(({ jobs }) => jobs) === QUOTA, 'all of the quota used');
    await until(() => sum(({ open }) => open.size) === SLOTS, 'all of the slots taken at once');
    // And nothing is left for those who go on asking.
    for (const { refusals } of users) refusals.clear();
    await until(
      () => users.every(({ refusals }) => refusals.size > 0),
      'both refused when all is used',
    );
    await Promise.all(users.map((user) => user.stop()));
    expect(sum(({ jobs }) => jobs)).toBe(QUOTA);
    expect(Math.max(one.openMax, other.openMax)).toBe(SLOTS);
    expect(one.sidecar.ends).toEqual(['SIGKILL']);
    expect(other.sidecar.ends).toEqual([]);

    // As each journal has it: also what was accepted and never answered.
    const accepted = await Promise.all(users.map(({ sidecar }) => countJobs(sidecar)));
    expect(accepted).toEqual(users.map(({ jobs }) => jobs));
  },
);
