/**
 * Fault campaigns: a real daemon is broken in one way, many times, and what it told
 * its clients is held against what it kept. Each campaign ends by itself and leaves nothing behind.
 *
 * Exit codes: 0 no lie was found, 1 one was, or the contract was broken, 2 wrong arguments, 4 this
 * machine lacks a program that the campaign needs.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { FakeRandom } from '../fakes/fake-random.ts';
import { commit } from '../reporting/commit.ts';
import { runAll } from './all-campaigns.ts';
import { allText } from './all-report.ts';
import { CannotRunHere, type Campaign, type CampaignReport } from './campaign.ts';
import { bitFlip } from './campaigns/bit-flip.ts';
import { failpoints } from './campaigns/failpoints.ts';
import { fsyncError } from './campaigns/fsync-error.ts';
import { fullDisk } from './campaigns/full-disk.ts';
import { killNine } from './campaigns/kill-nine.ts';
import { network } from './campaigns/network.ts';
import { ownership } from './campaigns/ownership.ts';
import { powerCut } from './campaigns/power-cut.ts';
import { readOnlyDisk } from './campaigns/read-only-disk.ts';
import { readOnlyMount } from './campaigns/read-only-mount.ts';
import { slowDisk } from './campaigns/slow-disk.ts';
import { clearLeftovers, scratchDirectory } from './scratch.ts';
import { Undo } from './undo.ts';

const CAMPAIGNS: readonly Campaign[] = [
  killNine,
  failpoints,
  powerCut,
  fsyncError,
  slowDisk,
  bitFlip,
  fullDisk,
  readOnlyDisk,
  readOnlyMount,
  ownership,
  network,
];

const EXIT = { passed: 0, broken: 1, usage: 2, cannotRun: 4 } as const;
const SHOWN_MAX = 20;

const HELP = `npm run faults -- CAMPAIGN [--cycles N] [--minutes M] [--seed N] [--json]
       npm run faults -- all --minutes M [--seed N] [--json]

Campaigns:
${CAMPAIGNS.map(({ name, about }) => `  ${name.padEnd(12)} ${about}`).join('\n')}
  ${'all'.padEnd(12)} each of them in turn, for M minutes together, with every failpoint reached

  --cycles N    how often (also --offsets N)
  --from K      of fsync-error, failpoints, ownership and network: the first is K (default 1)
  --minutes M   end after M minutes, whatever --cycles says
  --seed N      the same random choices again; the timing of processes is not repeated
  --json        one JSON object on standard output

Exit codes: 0 no lie, 1 a lie or a broken contract, 2 wrong arguments, 4 a program is missing
(of all: what cannot run here is skipped and named; under CI=true the run then ends with 4)
`;

class UsageError extends Error {
  override name = 'UsageError';
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      cycles: { type: 'string' },
      from: { type: 'string', default: '1' },
      offsets: { type: 'string' },
      minutes: { type: 'string' },
      seed: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return EXIT.passed;
  }
  const isAll = positionals[0] === 'all' && positionals.length === 1;
  if (isAll && values.minutes !== undefined) return runTogether(values, values.minutes);
  const campaign = CAMPAIGNS.find(({ name }) => name === positionals[0]);
  if (campaign === undefined || positionals.length > 1) {
    process.stderr.write(HELP);
    return EXIT.usage;
  }
  const cycles = whole('cycles', values.cycles ?? values.offsets ?? `${campaign.cyclesAtFirst}`);
  const seed = whole('seed', values.seed ?? `${Date.now() % 1_000_000}`);
  const from = whole('from', values.from);
  const minutes = values.minutes === undefined ? null : Number(values.minutes);
  if (minutes !== null && !(minutes > 0)) throw new UsageError(`--minutes ${values.minutes}?`);
  checkPrograms(campaign);
  const made = commit();
  const startedMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startedMs) / 100) / 10;
  const say = (text: string): void => void process.stderr.write(`${seconds()}s  ${text}\n`);
  say(`${campaign.name}, ${cycles} cycles, seed ${seed}`);
  const undo = new Undo();
  undo.watch();
  clearLeftovers(say);
  keepCompiled(undo);
  const report = await campaign.run({
    cycles,
    from,
    seed,
    random: new FakeRandom(seed),
    undo,
    isOver: () => minutes !== null && seconds() > minutes * 60,
    say,
  });
  undo.undoAll();
  const passed = report.lies.length + report.breaches.length === 0;
  const head = { campaign: campaign.name, seed, commit: made, passed, seconds: seconds() };
  const all = { ...head, ...report };
  if (values.json) process.stdout.write(`${JSON.stringify(all)}\n`);
  else process.stdout.write(reportText(all));
  return passed ? EXIT.passed : EXIT.broken;
}

async function runTogether(
  values: { readonly seed?: string | undefined; readonly json: boolean },
  minutesText: string,
): Promise<number> {
  const seed = whole('seed', values.seed ?? `${Date.now() % 1_000_000}`);
  const minutes = Number(minutesText);
  if (!(minutes > 0)) throw new UsageError(`--minutes ${minutesText}?`);
  const startedMs = performance.now();
  const say = (text: string): void =>
    void process.stderr.write(`${Math.round((performance.now() - startedMs) / 1_000)}s  ${text}\n`);
  const undo = new Undo();
  undo.watch();
  clearLeftovers(say);
  keepCompiled(undo);
  const report = await runAll(CAMPAIGNS, { minutes, seed, undo, say, checkPrograms });
  undo.undoAll();
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : allText(report));
  if (!report.passed) return EXIT.broken;
  const isSkipped = report.campaigns.some(({ skipped }) => skipped !== null);
  return isSkipped && process.env['CI'] === 'true' ? EXIT.cannotRun : EXIT.passed;
}

function reportText(
  report: CampaignReport & {
    campaign: string;
    seed: number;
    commit: string;
    passed: boolean;
    seconds: number;
  },
): string {
  const { campaign, seed, counts, lies, breaches, passed, seconds } = report;
  const rows = {
    seed,
    commit: report.commit,
    seconds,
    ...counts,
    ...checkRows(report),
    lies: lies.length,
    'contract broken': breaches.length,
  };
  const width = Math.max(...Object.keys(rows).map(({ length }) => length));
  const lines = [
    `${campaign}: ${passed ? 'no lie' : 'FAILED'}`,
    ...Object.entries(rows).map(([name, value]) => `  ${name.padEnd(width)}  ${value}`),
    ...lies
      .slice(0, SHOWN_MAX)
      .map(({ kind, about, detail }) => `  LIE ${kind}: ${about}: ${detail}`),
    ...breaches.slice(0, SHOWN_MAX).map(({ what, detail }) => `  BROKEN ${what}: ${detail}`),
  ];
  return `${lines.join('\n')}\n`;
}

/** Half of each start is to compile the same files: for the time of the run it is kept. */
function keepCompiled(undo: Undo): void {
  process.env['NODE_COMPILE_CACHE'] ??= scratchDirectory(undo, 'compiled').root;
}

function checkRows({ checks }: CampaignReport): Record<string, number> {
  return Object.fromEntries(
    Object.entries(checks).map(([promise, count]) => [`checks of ${promise}`, count]),
  );
}

function whole(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${name} ${text} is not a whole number`);
  return Number(text);
}

function checkPrograms({ name, needs }: Campaign): void {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const missing = needs.filter(
    (program) => !folders.some((folder) => isProgram(join(folder, program))),
  );
  if (missing.length > 0)
    throw new CannotRunHere(`${name} needs ${missing.join(', ')}: not installed here`);
  if (needs.includes('mount') && process.getuid?.() !== 0)
    throw new CannotRunHere(`${name} mounts file systems: run it as root`);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function exitCodeOf(error: unknown): number {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CannotRunHere) {
    process.stderr.write(`${message}\n`);
    return EXIT.cannotRun;
  }
  if (
    error instanceof UsageError ||
    (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
  ) {
    process.stderr.write(`${message}\n\n${HELP}`);
    return EXIT.usage;
  }
  process.stderr.write(`${error instanceof Error ? error.stack : message}\n`);
  return EXIT.broken;
}

// Exits at once: time-outs that nobody waits for any more must not hold it up.
process.exit(await main().catch(exitCodeOf));
