/**
 * Fuzzers: what comes from outside is made wrong in every way that there is, many times. Each ends by
 * itself and leaves nothing behind.
 *
 * Exit codes: 0 nothing was found, 1 something was, 2 wrong arguments.
 */
import { parseArgs } from 'node:util';
import { clearLeftovers } from '../faults/scratch.ts';
import { Undo } from '../faults/undo.ts';
import { api } from './api/api-fuzzer.ts';
import { bundle } from './bundle-fuzzer.ts';
import { journal } from './journal-fuzzer.ts';
import { policy } from './policy-fuzzer.ts';
import { sync } from './sync-fuzzer.ts';
import type { Finding, Fuzzer, FuzzReport } from './fuzzer.ts';

const FUZZERS: readonly Fuzzer[] = [api, policy, bundle, sync, journal];

const EXIT = { passed: 0, found: 1, usage: 2 } as const;
const SHOWN_MAX = 20;
const DETAIL_MAX = 600;

const DEFAULTS = FUZZERS.map(({ name, casesAtFirst }) => `${name} ${casesAtFirst}`).join(', ');

const HELP = `npm run fuzz -- FUZZER [--requests N] [--seed N] [--from K] [--minutes M] [--json]

Fuzzers:
${FUZZERS.map(({ name, about }) => `  ${name.padEnd(8)} ${about}`).join('\n')}
  all      each of them in turn

  --requests N  how many cases; of api, requests for each daemon (${DEFAULTS})
  --seed N      the same cases again; each follows from the seed and its number alone
  --from K      the number of the first case (default 0)
  --minutes M   end after M minutes, whatever --requests says; with all, each has its share
  --json        one JSON object on standard output

What is found is printed with its seed, its case and its input, as test/fuzz/found/ keeps it.
Exit codes: 0 nothing found, 1 something found, 2 wrong arguments
`;

class UsageError extends Error {
  override name = 'UsageError';
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      requests: { type: 'string' },
      seed: { type: 'string' },
      from: { type: 'string', default: '0' },
      minutes: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return EXIT.passed;
  }
  const [word] = positionals;
  const chosen = word === 'all' ? FUZZERS : FUZZERS.filter(({ name }) => name === word);
  if (chosen.length === 0 || positionals.length > 1) {
    process.stderr.write(HELP);
    return EXIT.usage;
  }
  const seed = whole('seed', values.seed ?? `${Date.now() % 1_000_000}`);
  const from = whole('from', values.from);
  const minutes = values.minutes === undefined ? null : Number(values.minutes);
  if (minutes !== null && !(minutes > 0)) throw new UsageError(`--minutes ${values.minutes}?`);
  const undo = new Undo();
  undo.watch();
  clearLeftovers((text) => void process.stderr.write(`${text}\n`));
  const startedMs = performance.now();
  const reports: FuzzReport[] = [];
  for (const [at, fuzzer] of chosen.entries()) {
    const say = (text: string): void =>
      void process.stderr.write(`${seconds(startedMs)}s  ${fuzzer.name}: ${text}\n`);
    const cases =
      values.requests === undefined ? fuzzer.casesAtFirst : whole('requests', values.requests);
    const shareMs = minutes === null ? Infinity : (minutes * 60_000) / chosen.length;
    const beganMs = startedMs + (minutes === null ? 0 : shareMs * at);
    say(`${cases} cases, seed ${seed}`);
    const isOver = (share = 1): boolean => performance.now() > beganMs + shareMs * share;
    reports.push(await fuzzer.run({ seed, from, cases, undo, isOver, say }));
    undo.undoAll();
  }
  const all = {
    fuzzers: chosen.map(({ name }) => name),
    seed,
    seconds: seconds(startedMs),
    counts: Object.assign({}, ...reports.map(({ counts }) => counts)) as FuzzReport['counts'],
    findings: reports.flatMap(({ findings }) => findings),
  };
  process.stdout.write(values.json ? `${JSON.stringify(all)}\n` : reportText(all));
  return all.findings.length === 0 ? EXIT.passed : EXIT.found;
}

function reportText(all: {
  fuzzers: readonly string[];
  seed: number;
  seconds: number;
  counts: FuzzReport['counts'];
  findings: readonly Finding[];
}): string {
  const rows = {
    seed: all.seed,
    seconds: all.seconds,
    ...all.counts,
    findings: all.findings.length,
  };
  const width = Math.max(...Object.keys(rows).map(({ length }) => length));
  const lines = [
    `${all.fuzzers.join(', ')}: ${all.findings.length === 0 ? 'nothing found' : 'FOUND'}`,
    ...Object.entries(rows).map(([name, value]) => `  ${name.padEnd(width)}  ${value}`),
    ...all.findings
      .slice(0, SHOWN_MAX)
      .map(
        ({ what, detail, case: number, input }) =>
          `  FOUND ${what} (case ${number}): ${detail.slice(0, DETAIL_MAX)}\n    ${JSON.stringify(input).slice(0, DETAIL_MAX)}`,
      ),
  ];
  return `${lines.join('\n')}\n`;
}

function whole(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${name} ${text} is not a whole number`);
  return Number(text);
}

function seconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) / 100) / 10;
}

function exitCodeOf(error: unknown): number {
  const message = error instanceof Error ? error.message : String(error);
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  process.stderr.write(
    isUsage === true
      ? `${message}\n\n${HELP}`
      : `${error instanceof Error ? error.stack : message}\n`,
  );
  return isUsage === true ? EXIT.usage : EXIT.found;
}

// Exits at once: time-outs that nobody waits for any more must not hold it up.
process.exit(await main().catch(exitCodeOf));
