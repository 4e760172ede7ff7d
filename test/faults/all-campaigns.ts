/**
 * All campaigns in a stated time, in slices and in turn, and one account of them: how often each ran, what
 * it did to the daemons, what was checked, what was found, and how often each named point of the code was
 * reached. One that is never reached is a broken contract: it guards nothing.
 *
 * N1  The time that is left is divided among the slices that are left, so that one that took longer than
 *     its own takes from all the others alike.
 * N2  Each slice takes back what it set up before the next one begins, and at the end nothing of it is
 *     mounted.
 * N3  One that had no time to do anything has shown nothing, and is told as skipped.
 */
import { FAILPOINTS, type FailpointName } from '../../shared/platform/failpoints.ts';
import { addCounts, total } from './counts.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import { CannotRunHere, type Breach, type Campaign, type CampaignReport } from './campaign.ts';
import { commit } from '../reporting/commit.ts';
import type { Checks } from './check/promise-checks.ts';
import type { Lie } from './check/lie.ts';
import { ownMounts } from './scratch.ts';
import { Undo } from './undo.ts';

const SLICE_MINUTES = 1;
const CYCLES = 1_000_000;

export type CampaignAccount = {
  readonly name: string;
  slices: number;
  seconds: number;
  counts: Record<string, number | string>;
  readonly faults: Record<string, number>;
  readonly checks: Checks;
  readonly lies: Lie[];
  readonly breaches: Breach[];
  /** Why this machine cannot run it, or that there was no time for it. */
  skipped: string | null;
};

export type AllReport = {
  readonly seed: number;
  readonly minutes: number;
  readonly commit: string;
  readonly passed: boolean;
  readonly seconds: number;
  readonly campaigns: readonly CampaignAccount[];
  readonly failpoints: Readonly<Record<FailpointName, number>>;
  readonly breaches: readonly Breach[];
};

export type AllOptions = {
  readonly minutes: number;
  readonly seed: number;
  readonly undo: Undo;
  readonly say: (text: string) => void;
  /** Throws `CannotRunHere`. */
  readonly checkPrograms: (campaign: Campaign) => void;
  /** Default: the clock of this program. */
  readonly nowMs?: () => number;
};

export async function runAll(
  campaigns: readonly Campaign[],
  { minutes, seed, undo, say, checkPrograms, nowMs = () => performance.now() }: AllOptions,
): Promise<AllReport> {
  const made = commit();
  const startedMs = nowMs();
  const endMs = startedMs + minutes * 60_000;
  const accounts = campaigns.map(({ name }) => newAccount(name));
  const runnable = campaigns.flatMap((campaign, at) => {
    const account = accounts[at];
    const skipped = whyNot(() => checkPrograms(campaign));
    if (account === undefined) return [];
    account.skipped = skipped;
    if (skipped !== null) say(`SKIPPED ${campaign.name}: ${skipped}`);
    return skipped === null ? [{ campaign, account }] : [];
  });
  const reached = Object.fromEntries(Object.keys(FAILPOINTS).map((name) => [name, 0])) as Record<
    FailpointName,
    number
  >;
  const rounds = Math.max(1, Math.floor(minutes / (runnable.length * SLICE_MINUTES)));
  const slices = Array.from({ length: rounds }, () => runnable).flat();
  for (const [at, { campaign, account }] of slices.entries()) {
    // N1.
    const sliceMs = Math.max(0, endMs - nowMs()) / (slices.length - at);
    const beganMs = nowMs();
    say(`${campaign.name}: ${Math.round(sliceMs / 1_000)} s`);
    const own = new Undo();
    const removed = undo.add(`the slice of ${campaign.name}`, () => own.undoAll());
    try {
      const report = await campaign.run({
        cycles: CYCLES,
        from: 1,
        seed: seed + at,
        random: new FakeRandom(seed + at),
        undo: own,
        isOver: () => nowMs() - beganMs > sliceMs,
        say: (text) => say(`${campaign.name}: ${text}`),
      });
      take(account, report);
      for (const [name, times] of Object.entries(report.failpoints ?? {}))
        reached[name as FailpointName] += times;
    } catch (error) {
      if (error instanceof CannotRunHere) {
        account.skipped = error.message;
        say(`SKIPPED ${campaign.name}: ${error.message}`);
      } else account.breaches.push({ what: 'it ended with an error', detail: textOf(error) });
    }
    removed();
    account.slices += 1;
    account.seconds += Math.round((nowMs() - beganMs) / 1_000);
  }
  for (const account of accounts) skipIdle(account);
  const breaches = [...unreached(reached, accounts), ...leftMounted()];
  const found = accounts.reduce((sum, one) => sum + one.lies.length + one.breaches.length, 0);
  return {
    seed,
    minutes,
    commit: made,
    passed: found + breaches.length === 0,
    seconds: Math.round((nowMs() - startedMs) / 100) / 10,
    campaigns: accounts,
    failpoints: reached,
    breaches,
  };
}

function newAccount(name: string): CampaignAccount {
  return {
    name,
    slices: 0,
    seconds: 0,
    counts: {},
    faults: {},
    checks: {},
    lies: [],
    breaches: [],
    skipped: null,
  };
}

/** Numbers are added up over the slices; of texts the newest stays. */
function take(account: CampaignAccount, report: CampaignReport): void {
  const { counts, faults, checks, lies, breaches } = report;
  for (const [name, value] of Object.entries(counts)) {
    const before = account.counts[name];
    account.counts[name] =
      typeof value === 'number' && typeof before === 'number' ? before + value : value;
  }
  addCounts(account.faults, faults);
  addCounts(account.checks, checks);
  account.lies.push(...lies);
  account.breaches.push(...breaches);
}

/** N3. */
function skipIdle(account: CampaignAccount): void {
  const { faults, lies, breaches, skipped } = account;
  if (skipped === null && total(faults) + lies.length + breaches.length === 0)
    account.skipped = 'its time was over before it had done anything; give more --minutes';
}

function whyNot(check: () => void): string | null {
  try {
    check();
    return null;
  } catch (error) {
    if (error instanceof CannotRunHere) return error.message;
    throw error;
  }
}

/** Where the campaign that reaches them could not run, that is told already. */
function unreached(
  reached: Readonly<Record<FailpointName, number>>,
  accounts: readonly CampaignAccount[],
): Breach[] {
  if (accounts.some(({ name, skipped }) => name === 'failpoints' && skipped !== null)) return [];
  return Object.entries(reached).flatMap(([name, times]) =>
    times > 0 ? [] : [{ what: `failpoint ${name}`, detail: 'was not reached in this run' }],
  );
}

/** N2. */
function leftMounted(): Breach[] {
  return ownMounts().map((path) => ({ what: 'mounted still', detail: path }));
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
