/**
 * Every failpoint there is, one kill each: the steps of a client through the journal, migrations
 * statement by statement, and the retention step by step. A point that no run reaches is a broken
 * contract: it guards nothing.
 */
import { join } from 'node:path';
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import type { Promised } from '../../simulation/history.ts';
import type { Lie } from '../check/lie.ts';
import type { Checks } from '../check/promise-checks.ts';
import { addCounts } from '../counts.ts';
import { FAILPOINTS, type FailpointName } from '../../../shared/platform/failpoints.ts';
import { makeSite, type Site } from '../sidecar/site.ts';
import { FAILPOINT_CASES, runFailpointCase, type CaseResult } from './failpoints-cases.ts';
import type { Plane } from './failpoints-migrate.ts';
import { CLAIM_KILLS, runClaimKill } from './failpoints-claim.ts';
import { POLICY_KILLS, runPolicyKill } from './failpoints-policy.ts';
import { PRUNE_KILLS, makePrunable, runPruneKill } from './failpoints-prune.ts';
import { migrationKills, runFirstStartKill, runMigrationKill } from './failpoints-migrations.ts';

const PLANES: readonly Plane[] = ['journal', 'control'];
const ALL = 1_000;

export const failpoints: Campaign = {
  name: 'failpoints',
  about:
    'kill -9 at each named point: steps of a client, statements of a migration, steps of the ' +
    'retention, a revision put in force',
  cyclesAtFirst: ALL,
  needs: ['env'],
  run,
};

type Kill = {
  readonly name: string;
  readonly point: FailpointName;
  /** What is looked at after it. */
  readonly promises: readonly Promised[];
  readonly run: () => Promise<CaseResult>;
};
type Tally = { reached: number; kills: number; problems: number };

async function run(options: CampaignOptions): Promise<CampaignReport> {
  const { cycles, from, undo, isOver, say } = options;
  const kills = await allKills(await makeSite(undo), options);
  const chosen = kills.slice(from - 1, from - 1 + cycles);
  const tallies = new Map(
    Object.keys(FAILPOINTS).map((name): [string, Tally] => {
      return [name, { reached: 0, kills: 0, problems: 0 }];
    }),
  );
  const checks: Checks = {};
  const lies: Lie[] = [];
  const breaches: Breach[] = [];
  let done = 0;
  // Each point once, whatever time that takes: a run that left one out would prove nothing about it.
  const firstPass = new Set(chosen.map(({ point }) => point)).size;
  for (const kill of chosen) {
    if (isOver() && done >= firstPass) break;
    const result = await kill.run();
    done += 1;
    for (const promise of kill.promises) addCounts(checks, { [promise]: 1 });
    lies.push(...result.lies);
    breaches.push(...result.problems.map((detail) => ({ what: kill.name, detail })));
    count(tallies, result);
    if (done % 10 === 0) say(`${done} of ${chosen.length} kills`);
  }
  // A part of them proves nothing about the points of the others.
  if (done === kills.length) {
    for (const [name, { reached, kills: times }] of tallies) {
      if (times === 0)
        breaches.push({ what: name, detail: `never killed, reached ${reached} times` });
    }
  }
  const rows = [...tallies].map(([name, tally]) => [name, tallyText(tally)]);
  const table = Object.fromEntries(rows) as Record<FailpointName, string>;
  const reached = Object.fromEntries([...tallies].map(([name, tally]) => [name, tally.reached]));
  return {
    counts: { kills: done, ...table },
    faults: { 'kill at a failpoint': done },
    checks,
    lies,
    breaches,
    failpoints: reached as Record<FailpointName, number>,
  };
}

async function allKills(site: Site, { undo }: CampaignOptions): Promise<Kill[]> {
  const kills = FAILPOINT_CASES.map((one): Kill => {
    const name = `${one.step} ${one.point}`;
    return {
      name,
      point: one.point,
      promises: ['I1', 'I2'],
      run: () => runFailpointCase(site, undo, one),
    };
  });
  const { root } = site;
  for (const kill of CLAIM_KILLS) {
    const { point } = kill;
    kills.push({
      name: `claim ${point}`,
      point,
      promises: ['I1', 'I2', 'I9'],
      run: () => runClaimKill(kill, { root, undo }),
    });
  }
  const prunable = join(root, 'prunable');
  await makePrunable(prunable);
  for (const kill of PRUNE_KILLS) {
    const name = `prune ${kill.point} ${kill.at}`;
    kills.push({
      name,
      point: kill.point,
      // What it may not delete is there.
      promises: ['I1'],
      run: () => runPruneKill(prunable, kill, { root, undo }),
    });
  }
  for (const kill of POLICY_KILLS)
    kills.push({
      name: `revision ${kill.point}`,
      point: kill.point,
      promises: ['I3', 'I8', 'I11'],
      run: () => runPolicyKill(kill, undo),
    });
  for (const plane of PLANES) {
    for (const kill of await migrationKills(plane, root, undo)) {
      const name = `${plane} ${kill.point} ${kill.at}`;
      const { point } = kill;
      // Their data is empty: what is looked at is the schema.
      const promises: readonly Promised[] = [];
      kills.push({
        name,
        point,
        promises,
        run: () => runMigrationKill(plane, kill, { root, undo }),
      });
      if (plane === 'journal')
        kills.push({
          name: `first start ${kill.point} ${kill.at}`,
          point,
          promises,
          run: () => runFirstStartKill(site, undo, kill),
        });
    }
  }
  return inTurn(kills);
}

/** The first kill at each point, then the second at each, and so on: a run that ends early met them all. */
function inTurn(kills: readonly Kill[]): Kill[] {
  const byPoint = [...Map.groupBy(kills, ({ point }) => point).values()];
  const most = Math.max(...byPoint.map(({ length }) => length));
  return Array.from({ length: most }, (_, at) =>
    byPoint.flatMap((those) => those[at] ?? []),
  ).flat();
}

function count(tallies: ReadonlyMap<string, Tally>, { report, problems, lies }: CaseResult): void {
  if (report === null) return;
  for (const [name, times] of Object.entries(report.reached)) {
    const tally = tallies.get(name);
    if (tally !== undefined) tally.reached += times;
  }
  const tally = tallies.get(report.killedAt ?? '');
  if (tally === undefined) return;
  tally.kills += 1;
  // A program that was started again has written its own account over the one of its death.
  tally.reached = Math.max(tally.reached, tally.kills);
  tally.problems += problems.length + lies.length;
}

function tallyText({ reached, kills, problems }: Tally): string {
  const verdict =
    kills === 0 ? 'NOT TESTED' : problems === 0 ? 'as promised' : `${problems} BROKEN`;
  const [times, killed] = [reached, kills].map((number) => `${number}`.padStart(4));
  return `reached ${times}  kills ${killed}  ${verdict}`;
}
