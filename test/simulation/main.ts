/**
 * The simulation of the whole fleet: `npm run simulate`. Exit codes: 0 every promise held, 1 one did
 * not or a run broke, 2 wrong arguments, 130 stopped before its end.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { commit } from '../reporting/commit.ts';
import { runCampaign, type FailedSeed } from './campaign.ts';
import { KeptError, KeptSeeds } from './kept-seeds.ts';
import { MutantError } from './mutants/mutant.ts';
import { areAllCaught, mutantsTable, rowOf, runMutants } from './mutants/run-mutants.ts';
import { MINUTES_OF_CAMPAIGN, PACES, type Pace } from './plan.ts';
import { failedText, reportText } from './report.ts';

const SEEDS_DEFAULT = 200;
const SEEDS_MAX = 1_000_000;
const MINUTES_MAX = 600;
const WORKERS_MAX = 256;
const EXIT = { passed: 0, broken: 1, usage: 2, stopped: 130 } as const;

const HELP = `npm run simulate -- [--seeds N] [--from K] [--workers W] [--minutes M] [--pace P] [--keep FILE] [--json]
npm run simulate -- --seed N [--minutes M] [--pace P] [--json]
npm run simulate -- --mutants [--only TEXT] [--seeds N] [--workers W] [--json]

Control and two or three sidecars, the real ones, in one process on simulated clocks, networks and
disks, with apps and operators at work while faults happen; then everything is healed and must come to
rest. What could be seen is held against the promises I1 to I12. A seed says all that will happen.

  --seeds N     as many seeds (default ${SEEDS_DEFAULT}), over several processes
  --from K      the first of them (default 1)
  --seed N      this one alone: prints its hash, and where a promise is broken the way there
  --mutants     the daemons with one bug each, which the checkers must find; --seeds N: at most so
                many seeds for each
  --only TEXT   those mutants whose name has this in it
  --workers W   processes (default: one for each processor)
  --minutes M   simulated time in which faults happen, of each seed (default ${MINUTES_OF_CAMPAIGN})
  --pace P      quick (leases of 75 s), slow (all lasts 24 times as long) or mixed (default: one in ten
                is slow)
  --keep FILE   what came of each seed goes there; the same command goes on where it was stopped
                (Ctrl-C ends with the table of what is done). One commit, without changes, for a file
  --json        one JSON object on standard output

Exit codes: 0 every promise held (with --mutants: each was found), 1 otherwise, 2 wrong arguments,
130 stopped before its end
`;

class UsageError extends Error {
  override name = 'UsageError';
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      workers: { type: 'string', default: `${Math.min(availableParallelism(), WORKERS_MAX)}` },
      minutes: { type: 'string', default: `${MINUTES_OF_CAMPAIGN}` },
      mutants: { type: 'boolean', default: false },
      only: { type: 'string' },
      pace: { type: 'string', default: 'mixed' },
      keep: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return EXIT.passed;
  }
  const minutes = numberOf('minutes', values.minutes, MINUTES_MAX);
  const pace = paceOf(values.pace);
  if (values.seed !== undefined) {
    const { runOne } = await import('./run-one.ts');
    const seed = numberOf('seed', values.seed, Number.MAX_SAFE_INTEGER);
    const { judged, text } = await runOne(seed, { minutes, pace }, say);
    const isHeld = judged.violations.length === 0;
    const told = isHeld ? text : text + wayBack(seed, { minutes, pace });
    process.stdout.write(
      values.json ? `${JSON.stringify({ commit: commit(), ...judged })}\n` : told,
    );
    return isHeld ? EXIT.passed : EXIT.broken;
  }
  const workers = numberOf('workers', values.workers, WORKERS_MAX);
  const asked = values.seeds === undefined ? null : numberOf('seeds', values.seeds, SEEDS_MAX);
  if (values.mutants) return mutants({ only: values.only, asked, workers, asJson: values.json });
  const count = asked ?? SEEDS_DEFAULT;
  const from = numberOf('from', values.from, Number.MAX_SAFE_INTEGER - SEEDS_MAX);
  const seeds = Array.from({ length: count }, (_, index) => from + index);
  const { keep = null, json: asJson } = values;
  return campaign({ seeds, workers, minutes, pace, keep, asJson });
}

async function campaign(options: {
  readonly seeds: readonly number[];
  readonly workers: number;
  readonly minutes: number;
  readonly pace: Pace;
  readonly keep: string | null;
  readonly asJson: boolean;
}): Promise<number> {
  const { seeds, minutes, pace, keep, asJson } = options;
  const kept = keep === null ? null : new KeptSeeds(keep, { commit: wholeCommit(), minutes, pace });
  const stopping = new AbortController();
  process.once('SIGINT', () => {
    say('stopping after the seeds that are under way; once more to stop at once');
    stopping.abort();
  });
  const startedMs = performance.now();
  const { signal: stop } = stopping;
  const onProgress = progress(seeds.length);
  const report = await runCampaign({ ...options, onProgress, kept, stop });
  const wallSeconds = (performance.now() - startedMs) / 1_000;
  const [first] = report.failed;
  const table = reportText(report, { wallSeconds });
  const told = first === undefined ? table : table + wayBack(first.seed, options);
  process.stdout.write(asJson ? `${JSON.stringify({ commit: commit(), ...report })}\n` : told);
  if (report.failed.length > 0) return EXIT.broken;
  return report.seeds < seeds.length ? EXIT.stopped : EXIT.passed;
}

/** Each is a run of its own; a bug that nobody finds fails the command. */
async function mutants(options: {
  readonly only: string | undefined;
  readonly asked: number | null;
  readonly workers: number;
  readonly asJson: boolean;
}): Promise<number> {
  const { only, asked, workers, asJson } = options;
  const results = await runMutants({
    atOnce: workers,
    onResult: (result) => say(rowOf(result)),
    ...(only === undefined ? {} : { only }),
    ...(asked === null ? {} : { seedsMax: asked }),
  }).catch((error: unknown) => {
    throw error instanceof MutantError ? new UsageError(error.message) : error;
  });
  process.stdout.write(asJson ? `${JSON.stringify({ results })}\n` : `${mutantsTable(results)}\n`);
  return areAllCaught(results) ? EXIT.passed : EXIT.broken;
}

function numberOf(name: string, text: string, most: number): number {
  const value = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || value < 1 || value > most)
    throw new UsageError(`--${name} ${text}: a number from 1 to ${most} is needed`);
  return value;
}

function paceOf(text: string): Pace {
  const pace = PACES.find((each) => each === text);
  if (pace === undefined)
    throw new UsageError(`--pace ${text}: one of ${PACES.join(', ')} is needed`);
  return pace;
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** A line now and then, and one for each seed that fails. */
function progress(count: number): (done: number, failed: readonly FailedSeed[]) => void {
  let told = 0;
  const step = Math.max(1, Math.floor(count / 20));
  return (done, failed) => {
    for (const one of failed.slice(told)) say(failedText(one));
    told = failed.length;
    if (done % step === 0 || done === count)
      say(`${done} of ${count} seeds${told === 0 ? '' : `, ${told} failed`}`);
  };
}

/** What a seed does depends on how long it does it. */
function wayBack(
  seed: number,
  { minutes, pace }: { readonly minutes: number; readonly pace: Pace },
): string {
  return `at commit ${commit()}: npm run simulate -- --seed ${seed} --minutes ${minutes} --pace ${pace}\n`;
}

/** Of a tree without changes: what is added up must be of one code. */
function wholeCommit(): string {
  const whole = commit();
  if (/^[0-9a-f]+$/.test(whole)) return whole;
  throw new UsageError(
    `--keep: this tree is "${whole}": commit first, so that it is one code that is added up`,
  );
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage =
    error instanceof UsageError ||
    error instanceof KeptError ||
    (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
  say(isUsage ? `${(error as Error).message}\n\n${HELP}` : String((error as Error).stack));
  process.exitCode = isUsage ? EXIT.usage : EXIT.broken;
}
