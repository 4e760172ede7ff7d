/**
 * Imported first: takes from this process what would make two runs of one seed differ, and what
 * costs without telling anything. The product is not asked to do without; it is given others.
 *
 * N1  Time that nobody simulates stands still: `Date.now` and `performance.now` show simulated time,
 *     so that nothing is cut into slices by how fast this machine is.
 * N2  What waits for a turn of the event loop is counted, so that it is known when nothing can run
 *     any more (`settle`). The thread pool is not used: what would go there is done at once.
 * N3  Validators of requests are made once for each schema: every start of a daemon would make
 *     them all anew, and they hold nothing of it.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';

const loaded = createRequire(import.meta.url);

export const EPOCH_WALL_MS = Date.UTC(2030, 0, 1);

let nowMs = 0;
const turns = { pending: 0 };
let noise = 1;

/** N1: as the agenda goes on. */
export function showTime(ms: number): void {
  nowMs = ms;
}

/** For each run: what was drawn in the one before must not be seen in this one. */
export function beginAnew(): void {
  nowMs = 0;
  noise = 1;
}

const realSetImmediate = globalThis.setImmediate;
const realClearImmediate = globalThis.clearImmediate;
const waiting = new WeakSet<object>();

function countedImmediate(
  work: (...args: unknown[]) => void,
  ...args: unknown[]
): NodeJS.Immediate {
  turns.pending += 1;
  const immediate = realSetImmediate(() => {
    turns.pending -= 1;
    waiting.delete(immediate);
    work(...args);
  });
  waiting.add(immediate);
  return immediate;
}

function clearCounted(immediate: NodeJS.Immediate | undefined): void {
  if (immediate === undefined) return;
  if (waiting.delete(immediate)) turns.pending -= 1;
  realClearImmediate(immediate);
}

/** Resolves when nothing can go on any more without time passing (N2). */
export async function settle(): Promise<void> {
  do {
    await new Promise<void>((resolve) => realSetImmediate(resolve));
  } while (turns.pending > 0);
}

function replaceTimers(): void {
  globalThis.setImmediate = countedImmediate as typeof setImmediate;
  globalThis.clearImmediate = clearCounted;
  const timers = loaded('node:timers/promises') as { setImmediate: unknown };
  timers.setImmediate = (value: unknown) =>
    new Promise((resolve) => countedImmediate(() => resolve(value)));
}

function replaceClocks(): void {
  Date.now = () => EPOCH_WALL_MS + nowMs;
  performance.now = () => nowMs;
  Math.random = () => {
    noise = (Math.imul(noise, 1_664_525) + 1_013_904_223) >>> 0;
    return noise / 2 ** 32;
  };
}

export type DiskWatcher = {
  synced(path: string): void;
  renamed(from: string, to: string): void;
};
let watcher: DiskWatcher | null = null;

/** Told of what makes files durable, whoever does it. */
export function watchDisk(watch: DiskWatcher): void {
  watcher = watch;
}

function replaceFiles(): void {
  const paths = new Map<number, string>();
  // Taken out first: names that were imported follow what is put in their place.
  const { openSync, renameSync, statSync } = fs;
  fs.openSync = (path, ...rest) => {
    const file = openSync(path, ...rest);
    paths.set(file, String(path));
    return file;
  };
  // To sync costs time and changes nothing here: what it means is simulated.
  fs.fsyncSync = (file) => watcher?.synced(paths.get(file) ?? '');
  fs.renameSync = (from, to) => {
    renameSync(from, to);
    watcher?.renamed(String(from), String(to));
  };
  fs.promises.stat = (async (path: string) => statSync(path)) as never;
}

type Build = (
  external: Readonly<Record<string, object>>,
  options: unknown,
) => (route: Route) => unknown;
type Route = { readonly schema: unknown; readonly httpPart?: string };

const texts = new WeakMap<object, string>();

/** The same shared schemas come again with each route: each is made a text of once. */
function headOf(external: Readonly<Record<string, object>>, custom: unknown): string {
  const parts = Object.entries(external).map(([id, schema]) => {
    const text =
      texts.get(schema) ?? createHash('sha256').update(JSON.stringify(schema)).digest('hex');
    texts.set(schema, text);
    return `${id} ${text}`;
  });
  return [JSON.stringify(custom), ...parts].join('\n');
}

/** N3. */
function shareValidators(): void {
  const ofFastify = createRequire(loaded.resolve('fastify'));
  const path = ofFastify.resolve('@fastify/ajv-compiler');
  const original = ofFastify(path) as (options: unknown) => Build;
  const madeUnder = new Map<string, Map<string, unknown>>();
  const shared = (options: unknown): Build => {
    const build = original(options);
    return (external, custom) => {
      const head = headOf(external, custom);
      const made = madeUnder.get(head) ?? new Map<string, unknown>();
      madeUnder.set(head, made);
      return (route) => {
        const key = JSON.stringify(route.schema);
        if (!made.has(key)) made.set(key, build(external, custom)(route));
        return made.get(key);
      };
    };
  };
  const module = ofFastify.cache[path];
  if (module !== undefined) module.exports = Object.assign(shared, original);
}

replaceTimers();
replaceClocks();
replaceFiles();
shareValidators();
syncBuiltinESMExports();
