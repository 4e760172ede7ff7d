/**
 * Whether a journal gets slower as it grows: rate of admission and time to open, at several sizes of
 * the same journal. Over the journal itself, without HTTP: that does not grow.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import type { Journal } from '../../dataplane/journal/journal.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import { benchAdmission } from './journal-admission.ts';

export type GrowthFigures = {
  readonly sizes: readonly GrowthFigure[];
  /** Rate at the largest size to that at the smallest. */
  readonly rateRatio: number;
};
type GrowthFigure = {
  readonly records: number;
  readonly openMs: number;
  readonly admitRps: number;
  readonly bytesPerOperation: number;
};

export type GrowthOptions = {
  readonly sizes: readonly number[];
  readonly requests: number;
  readonly concurrency: number;
  readonly rounds: number;
  readonly say: (text: string) => void;
};

const FILL_AT_ONCE = 1_000;
const SAY_EVERY = 500_000;

const clock = new SystemClock();
const random = new SystemRandom();

export async function benchGrowth(options: GrowthOptions): Promise<GrowthFigures> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-growth-'));
  const sizes: GrowthFigure[] = [];
  let records = 0;
  try {
    for (const size of options.sizes) {
      const filling = await openJournal(directory, clock);
      while (records < size) {
        const count = Math.min(FILL_AT_ONCE, size - records);
        await Promise.all(Array.from({ length: count }, (_, at) => admit(filling, records + at)));
        records += count;
        if (records % SAY_EVERY === 0) options.say(`${records} records`);
      }
      await filling.close();
      const startedMs = performance.now();
      const journal = await openJournal(directory, clock);
      const openMs = performance.now() - startedMs;
      // The first is not counted: what the filling left for the disk is not the load that is meant.
      await rateOf(journal, records, options);
      records += options.requests;
      const rates: number[] = [];
      for (let round = 0; round < options.rounds; round += 1) {
        rates.push(await rateOf(journal, records, options));
        records += options.requests;
      }
      await journal.close();
      const admitRps = rates.toSorted((a, b) => a - b)[Math.floor(rates.length / 2)] ?? 0;
      const bytesPerOperation = directoryBytes(directory) / records;
      sizes.push({ records: size, openMs, admitRps, bytesPerOperation });
      options.say(
        `${size} records: opened in ${openMs.toFixed(0)} ms, ${admitRps.toFixed(0)} admissions/s, ${bytesPerOperation.toFixed(0)} bytes each`,
      );
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  const [first, last] = [sizes[0]?.admitRps ?? 0, sizes.at(-1)?.admitRps ?? 0];
  return { sizes, rateRatio: last / first };
}

async function rateOf(
  journal: Journal,
  from: number,
  { requests, concurrency }: GrowthOptions,
): Promise<number> {
  let next = 0;
  const startedMs = performance.now();
  const caller = async (): Promise<void> => {
    for (let at = next++; at < requests; at = next++) await admit(journal, from + at);
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  return requests / ((performance.now() - startedMs) / 1_000);
}

async function admit(journal: Journal, number: number): Promise<void> {
  const own = {
    hostId: 'host_01h00000000000000000000000',
    app: 'bench',
    idempotencyKey: `growth-${number}`,
    leaseResource: 'bench/s0',
    leaseEpoch: 1,
    ownershipMode: 'fenced',
    ownershipGraceMs: 1_800_000,
  } as const;
  const answer = await journal.admit(benchAdmission(number, own, { now: clock.now(), random }));
  if (answer.type !== 'admitted' || answer.replayed) throw new Error(JSON.stringify(answer));
}

function directoryBytes(directory: string): number {
  return readdirSync(directory).reduce(
    (sum, name) => sum + statSync(join(directory, name)).size,
    0,
  );
}
