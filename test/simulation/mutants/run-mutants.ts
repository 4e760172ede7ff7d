/**
 * Runs each mutant in processes of its own until a checker finds it out, or its seeds are used up, and
 * says so in a table. A checker that lets a bug through has found nothing by finding nothing.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import type { Promised } from '../history.ts';
import { MUTANTS, mutantsLike } from './index.ts';
import { MutantError, type Mutant } from './mutant.ts';
import type { SeedLine } from './seeds-child.ts';

const CHILD = join(import.meta.dirname, 'seeds-child.ts');
const PRELOAD = pathToFileURL(join(import.meta.dirname, 'preload.ts')).href;

export type MutantResult = {
  readonly mutant: Mutant;
  readonly isCaught: boolean;
  /** Whose checkers found it, the first of them first. */
  readonly by: readonly Promised[];
  /** In the words of the checker, or why nothing was found. */
  readonly detail: string;
  readonly seed: number | null;
  readonly seedsTried: number;
};

export type MutantsOptions = {
  /** Only those whose name has this in it. */
  readonly only?: string;
  /** As each comes to its end. */
  readonly onResult?: (result: MutantResult) => void;
  readonly atOnce?: number;
  /** At most so many seeds of each, for a quick look: what is not found then may be found later. */
  readonly seedsMax?: number;
};

/** Every mutant that must be found out, or those that `only` names, in the order of the list. */
export async function runMutants(options: MutantsOptions = {}): Promise<readonly MutantResult[]> {
  const { only = '', onResult = () => undefined, atOnce = 1, seedsMax = Infinity } = options;
  const chosen = mutantsLike(only);
  if (chosen.length === 0)
    throw new MutantError(
      `no mutant has "${only}" in its name: ${MUTANTS.map(({ name }) => name).join(', ')}`,
    );
  const results = new Map<string, MutantResult>();
  const waiting = [...chosen];
  const lane = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const result = await runMutant(mutant, Math.min(seedsMax, mutant.seedsMax));
      results.set(mutant.name, result);
      onResult(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return chosen.flatMap(({ name }) => results.get(name) ?? []);
}

async function runMutant(mutant: Mutant, seeds: number): Promise<MutantResult> {
  const lines: SeedLine[] = [];
  const failure = await child(mutant, seeds, (line) => lines.push(line));
  const last = lines.at(-1);
  const common = { mutant, seed: last?.seed ?? null, seedsTried: lines.length };
  if (last?.kind === 'found') {
    const { detail, promises: by } = last;
    return { ...common, isCaught: true, by, detail };
  }
  const broken = lines.find((line) => line.kind === 'broke_off');
  const said =
    broken === undefined ? '' : `; the run of seed ${broken.seed} broke off: ${broken.detail}`;
  const detail = failure ?? `nothing was found in ${lines.length} seeds${said}`;
  return { ...common, isCaught: false, by: [], detail, seed: null };
}

/** Why it ended badly; `null`: it did not. */
function child(
  { name }: Mutant,
  seeds: number,
  onLine: (line: SeedLine) => void,
): Promise<string | null> {
  const argv = ['--import', PRELOAD, CHILD, '1', String(seeds)];
  const env = { ...process.env, HOLDFAST_MUTANT: name };
  const running = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  running.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-2_000);
  });
  const lines = createInterface({ input: running.stdout });
  lines.on('line', (line) => {
    if (line.startsWith('{')) onLine(JSON.parse(line) as SeedLine);
  });
  const read = new Promise<void>((resolve) => lines.once('close', resolve));
  return new Promise((resolve, reject) => {
    running.once('error', reject);
    running.once('exit', (code) => {
      void read.then(() =>
        resolve(code === 0 ? null : `its process ended with ${code}: ${errors}`),
      );
    });
  });
}

export function areAllCaught(results: readonly MutantResult[]): boolean {
  return results.every(({ isCaught }) => isCaught);
}

/** The table that `npm run simulate -- --mutants` prints. */
export function mutantsTable(results: readonly MutantResult[]): string {
  const caught = results.filter(({ isCaught }) => isCaught).length;
  return [
    ...results.map(rowOf),
    `${caught} of ${results.length} mutants caught`,
    ...results.flatMap(({ mutant, isCaught, detail }) =>
      isCaught ? [] : [`NOT CAUGHT ${mutant.name} (${mutant.about}): ${detail}`],
    ),
  ].join('\n');
}

export function rowOf({ mutant, isCaught, by, seed, seedsTried }: MutantResult): string {
  const found = isCaught ? `by ${by.join(' ')}, seed ${seed}` : 'NOT CAUGHT';
  const seeds = `${seedsTried} of ${mutant.seedsMax} seeds`;
  return `${mutant.name.padEnd(30)} ${mutant.promise.padEnd(4)} ${found.padEnd(36)} ${seeds}`;
}
