/**
 * What putting a big revision in force costs the sidecar: from its bytes to the swap, and how long
 * the thread that admits is held at once meanwhile. Both in time, and in what the processor did in
 * it: on a machine that others use too, only the latter is the sidecar's own.
 */
import { giveWay } from '../../shared/platform/slices.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { UpstreamWorld } from '../fakes/upstream-world.ts';

export type ActivateFigures = {
  readonly byRules: readonly {
    readonly rules: number;
    readonly documentBytes: number;
    /** Medians of the rounds; of the turns of the event loop, the longest of each round. */
    readonly activationMs: number;
    readonly activationCpuMs: number;
    readonly longestTurnMs: number;
    readonly longestTurnCpuMs: number;
    readonly worstTurnCpuMs: number;
  }[];
};

export type ActivateOptions = {
  readonly rules: readonly number[];
  readonly rounds: number;
  readonly say: (text: string) => void;
};

type Round = {
  readonly activationMs: number;
  readonly activationCpuMs: number;
  readonly turnMs: number;
  readonly turnCpuMs: number;
};

export async function benchActivate(options: ActivateOptions): Promise<ActivateFigures> {
  const byRules: ActivateFigures['byRules'][number][] = [];
  for (const rules of options.rules) {
    const world = await UpstreamWorld.create();
    world.pause = giveWay;
    try {
      await world.startWithPolicy();
      // The first has the compiler itself compiled, which is no part of a revision.
      await activate(world, { rules, policyRevision: 2 });
      const done: Round[] = [];
      for (let round = 0; round < options.rounds; round += 1) {
        done.push(await activate(world, { rules, policyRevision: 3 + round }));
      }
      const figures = {
        rules,
        documentBytes: JSON.stringify(policyOf(rules, 2)).length,
        activationMs: median(done.map(({ activationMs }) => activationMs)),
        activationCpuMs: median(done.map(({ activationCpuMs }) => activationCpuMs)),
        longestTurnMs: median(done.map(({ turnMs }) => turnMs)),
        longestTurnCpuMs: median(done.map(({ turnCpuMs }) => turnCpuMs)),
        worstTurnCpuMs: Math.max(...done.map(({ turnCpuMs }) => turnCpuMs)),
      };
      byRules.push(figures);
      options.say(
        `activate, ${rules} rules: ${figures.activationMs.toFixed(0)} ms, of the processor ` +
          `${figures.activationCpuMs.toFixed(0)} ms; the longest turn of the event loop ` +
          `${figures.longestTurnMs.toFixed(1)} ms, of the processor ${figures.longestTurnCpuMs.toFixed(1)} ms ` +
          `(worst of ${options.rounds}: ${figures.worstTurnCpuMs.toFixed(1)} ms)`,
      );
    } finally {
      await world.dispose();
    }
  }
  return { byRules };
}

async function activate(
  world: UpstreamWorld,
  { rules, policyRevision }: { rules: number; policyRevision: number },
): Promise<Round> {
  // Signed before the clock runs: that is control's part.
  const statement = await world.control.bundle(policyRevision, policyOf(rules, policyRevision));
  const turns = watchTurns();
  const startedMs = performance.now();
  const startedCpuMs = cpuMs();
  world.control.place(policyRevision, statement);
  await world.until(() => world.revision() === policyRevision, `revision ${policyRevision}`);
  const activationMs = performance.now() - startedMs;
  return { activationMs, activationCpuMs: cpuMs() - startedCpuMs, ...turns.stop() };
}

/** Of this thread alone: garbage is collected on others too, and the disk is waited for on none. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/** The longest time between two turns of the event loop, until it is stopped. */
function watchTurns(): { stop(): { turnMs: number; turnCpuMs: number } } {
  let isStopped = false;
  let [lastMs, lastCpuMs] = [performance.now(), cpuMs()];
  let [turnMs, turnCpuMs] = [0, 0];
  const look = (): void => {
    const [nowMs, nowCpuMs] = [performance.now(), cpuMs()];
    turnMs = Math.max(turnMs, nowMs - lastMs);
    turnCpuMs = Math.max(turnCpuMs, nowCpuMs - lastCpuMs);
    [lastMs, lastCpuMs] = [nowMs, nowCpuMs];
    if (!isStopped) setImmediate(look);
  };
  setImmediate(look);
  return {
    stop() {
      look();
      isStopped = true;
      return { turnMs, turnCpuMs };
    },
  };
}

/** Every expression differs, so that none is compiled for another. */
function policyOf(rules: number, policyRevision: number): PolicyDocument {
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:bench': { roles: ['agent'] } },
    rules: Array.from({ length: rules }, (_, index) => ({
      name: `r${index}`,
      actions: [`a.b${index}`],
      permit: [{ expression: `attributes.n <= ${index + policyRevision}` }],
    })),
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
