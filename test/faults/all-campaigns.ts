/**
 * All campaigns in a stated time, in slices and in turn, and one account of them: how often each ran, what
 * it did to the daemons, what was checked, what was found, and how often each named point of the code was
 * reached. One that is never reached is a broken contract: it guards nothing.
 *
 * N1  The time that is left is divided among the slices that are left, so that one that took longer than
 *     its own takes from all the others alike.
 * N2  Each slice takes back what it set up before the next one begins, and at the end nothing of it is
 *     mounted.
 */
import { FAILPOINTS, type FailpointName } from '../../shared/platform/failpoints.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import { CannotRunHere, type Breach, type Campaign, type CampaignReport } from './campaign.ts';
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
  readonly lies: Lie[];
  readonly breaches: Breach[];
  /** Why this machine cannot run it. */
  skipped: string | null;
};

export type AllReport = {
  readonly seed: number;
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
  const breaches = [...unreached(reached, accounts), ...leftMounted()];
  const found = accounts.reduce((sum, one) => sum + one.lies.length + one.breaches.length, 0);
  return {
    seed,
    passed: found + breaches.length === 0,
    seconds: Math.round((nowMs() - startedMs) / 100) / 10,
    campaigns: accounts,
    failpoints: reached,
    breaches,
  };
}

function newAccount(name: string): CampaignAccount {
  return { name, slices: 0, seconds: 0, counts: {}, lies: [], breaches: [], skipped: null };
}

/** Numbers are added up over the slices; of texts the newest stays. */
function take(account: CampaignAccount, { counts, lies, breaches }: CampaignReport): void {
  for (const [name, value] of Object.entries(counts)) {
    const before = account.counts[name];
    account.counts[name] =
      typeof value === 'number' && typeof before === 'number' ? before + value : value;
  }
  account.lies.push(...lies);
  account.breaches.push(...breaches);
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

/** What of its counts is a fault that was injected, and what was checked; the rest are outcomes. */
const CHECKED = beginsWith([
  String.raw`(\d+ ms: )?acknowledged$`,
  'asked again',
  'replays of acknowledged',
  'entries',
  'operations',
  'writes taken',
  'owners',
]);
const FAULTS: Readonly<Record<string, RegExp>> = {
  kill9: /^(cycles|killed in start)$/,
  failpoints: /^kills$/,
  powercut: /^(cycles|cut again)/,
  'fsync-error': /^calls made to fail$/,
  'slow-disk': /delayed flushes$/,
  bitflip: /^offsets$/,
  erofs: /^calls made to fail$/,
};
const OTHERS = beginsWith([
  'cycles',
  'started on',
  'latency',
  'jitter',
  'reset',
  'half-open',
  'cut (up|both|on)',
  'throttled',
  'garbage',
  String.raw`\w+ killed`,
  'paused',
  'answers late',
  'control put',
  'wall clock',
  'boot clock',
]);

function beginsWith(words: readonly string[]): RegExp {
  return new RegExp(`^(${words.join('|')})`);
}

export function allText({
  seed,
  passed,
  seconds,
  campaigns,
  failpoints,
  breaches,
}: AllReport): string {
  const lines = [`all: ${passed ? 'no lie' : 'FAILED'}`, `  seed ${seed}, ${seconds} s`, ''];
  const width = Math.max(...campaigns.map(({ name }) => name.length));
  for (const account of campaigns) {
    const { name, counts, skipped } = account;
    const head = `  ${name.padEnd(width)}  `;
    if (skipped !== null) {
      lines.push(`${head}SKIPPED: ${skipped}`);
      continue;
    }
    const inject = FAULTS[name] ?? OTHERS;
    lines.push(
      `${head}${account.slices} slices, ${account.seconds} s, ` +
        `${account.lies.length} lies, ${account.breaches.length} breaches`,
      `${' '.repeat(width + 4)}faults: ${listed(counts, (key) => inject.test(key))}`,
      `${' '.repeat(width + 4)}checked: ${listed(counts, (key) => CHECKED.test(key))}`,
      ...account.lies.map(({ kind, about, detail }) => `    LIE ${kind}: ${about}: ${detail}`),
      ...account.breaches.map(({ what, detail }) => `    BROKEN ${what}: ${detail}`),
    );
  }
  const widest = Math.max(...Object.keys(failpoints).map(({ length }) => length));
  lines.push('', '  failpoints, times reached');
  for (const [name, times] of Object.entries(failpoints))
    lines.push(`    ${name.padEnd(widest)}  ${times}`);
  for (const { what, detail } of breaches) lines.push(`  BROKEN ${what}: ${detail}`);
  return `${lines.join('\n')}\n`;
}

function listed(
  counts: Readonly<Record<string, number | string>>,
  isMeant: (key: string) => boolean,
): string {
  const parts = Object.entries(counts).flatMap(([key, value]) =>
    typeof value === 'number' && value > 0 && isMeant(key) ? [`${key} ${value}`] : [],
  );
  return parts.length === 0 ? 'none' : parts.join(', ');
}
