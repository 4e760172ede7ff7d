/**
 * Named points at which a test ends the process as `kill -9` does, so that each moment between two
 * durable steps can be met on purpose and not by luck.
 *
 * P1  Off, a point costs one comparison. There is no way to arm one over HTTP, by configuration or by
 *     the environment of a daemon that is started as usual: `armFailpoints` is called by a preload
 *     of the fault campaigns and by nothing in the product.
 * P2  What is armed holds for every thread of the process, and so do the counts: a point in the
 *     writer's thread may wait for one in the main thread.
 * P3  A kill is the last thing that its thread does. Outside of the main thread it comes a moment
 *     later, so that an answer which the main thread gives too early gets out and is seen.
 */
import { writeFileSync } from 'node:fs';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';
import { nearestWord } from '../core/nearest-word.ts';

/** Every point there is, with what is true when it is reached. */
export const FAILPOINTS = {
  'admission.before_submit': 'an admission is decided, and the journal does not know of it',
  'admission.after_answer': 'the answer to an admission was handed to the operating system',
  'claim.after_answer': 'the answer to a claim was handed to the operating system',
  'execution.before_submit':
    'a step of an operation was asked for; the journal does not know of it',
  'journal.before_begin': 'the writer has a batch, and its transaction has not begun',
  'journal.before_commit': 'all of a batch is written in its transaction, and nothing is committed',
  'journal.after_commit': 'a batch is committed, and the head file does not know of it',
  'journal.after_head': 'the head file knows of a batch, and the main thread does not',
  'journal.before_answers': 'the main thread has the answers of a batch, and nobody was answered',
  'journal.during_prune':
    'a step of the retention has deleted, and the place up to which it did is not written',
  'policy.before_compile':
    'a revision is marked as under way, and nobody has looked at its document',
  'policy.before_swap': 'a revision is in force on the disk, and the old one is in memory',
  'migration.before_statement': 'one more statement of a migration is about to run',
  'migration.before_commit': 'all of a migration and its row are written, and not committed',
  'migration.after_commit': 'a migration is committed, and the next one has not begun',
} as const;

export type FailpointName = keyof typeof FAILPOINTS;

const NAMES = Object.keys(FAILPOINTS) as FailpointName[];

export class FailpointError extends Error {
  override name = 'FailpointError';
}

/**
 * `kill@N`: at the Nth time; `of`: counted over what it is reached with alone; `after`: counted from
 * when another point was reached so often.
 */
type Kill = {
  readonly at: number;
  readonly of: number | null;
  readonly after: { readonly name: FailpointName; readonly times: number } | null;
};
type Armed = {
  readonly kills: ReadonlyMap<FailpointName, Kill>;
  readonly reportFile: string | null;
  /** By the place of the name: how often it was reached, and then how often as its kill counts. */
  readonly counts: Int32Array;
};

export type FailpointReport = {
  readonly reached: Readonly<Record<FailpointName, number>>;
  readonly killedAt: FailpointName | null;
};

const SHARED_KEY = 'holdfast.failpoints';
const LINGER_MS = 200;

let watcher: ((name: FailpointName) => void) | null = null;
/** P2: of the thread that started this one. */
let armed = (getEnvironmentData(SHARED_KEY) ?? null) as Armed | null;

/** `subject` tells one from another at the same point, as the revision that is put in force. */
export function failpoint(name: FailpointName, subject: number | null = null): void {
  watcher?.(name);
  if (armed !== null) reach(armed, name, subject);
}

/**
 * For a simulation, where more than one daemon runs in this process: what is simulated to die at a
 * point is cut off there by whoever watches. P1 holds for it too.
 */
export function watchFailpoints(watch: (name: FailpointName) => void): void {
  watcher = watch;
}

/**
 * For this thread and those that it starts. `text` is a list, as
 * `journal.after_commit=kill@3, admission.before_submit=count`,
 * `policy.before_swap=kill@1 of 2` (revision 2 alone) or
 * `journal.after_commit=kill@1 after admission.before_submit@2`; every point is counted once one is
 * named. Throws a `FailpointError` that names the nearest point.
 */
export function armFailpoints(text: string, reportFile: string | null): void {
  const counts = new Int32Array(
    new SharedArrayBuffer(2 * NAMES.length * Int32Array.BYTES_PER_ELEMENT),
  );
  const mine: Armed = { kills: parseFailpoints(text), reportFile, counts };
  armed = mine;
  setEnvironmentData(SHARED_KEY, mine);
  process.once('exit', () => report(mine, null));
}

const KILL = /^kill@([1-9]\d*)(?: of ([1-9]\d*))?(?: after (\S+)@([1-9]\d*))?$/;

export function parseFailpoints(text: string): ReadonlyMap<FailpointName, Kill> {
  const kills = new Map<FailpointName, Kill>();
  for (const entry of text.split(',').map((part) => part.trim())) {
    const [, word = '', action = ''] = /^([^=]*)=(.*)$/.exec(entry) ?? [];
    const name = knownName(word.trim() || entry);
    if (action === 'count') continue;
    const [, at, of, other, times] = KILL.exec(action) ?? [];
    if (at === undefined) {
      throw new FailpointError(
        `failpoint ${name}: "${action}" is neither count nor kill@N nor kill@N of SUBJECT nor kill@N after POINT@M`,
      );
    }
    if (kills.has(name)) throw new FailpointError(`failpoint ${name} is given twice`);
    const after = other === undefined ? null : { name: knownName(other), times: Number(times) };
    kills.set(name, { at: Number(at), of: of === undefined ? null : Number(of), after });
  }
  return kills;
}

function knownName(word: string): FailpointName {
  const name = NAMES.find((known) => known === word);
  if (name !== undefined) return name;
  const best = nearestWord(word, NAMES);
  throw new FailpointError(
    `unknown failpoint ${word}${best === null ? `; there are ${NAMES.join(', ')}` : `; did you mean ${best}?`}`,
  );
}

function reach(all: Armed, name: FailpointName, subject: number | null): void {
  const { kills, counts } = all;
  const place = NAMES.indexOf(name);
  Atomics.add(counts, place, 1);
  const kill = kills.get(name);
  if (kill === undefined) return;
  const { at, of, after } = kill;
  if (of !== null && of !== subject) return;
  if (after !== null && Atomics.load(counts, NAMES.indexOf(after.name)) < after.times) return;
  if (Atomics.add(counts, NAMES.length + place, 1) + 1 === at) end(all, name);
}

/** P3: the signal takes a moment too. */
function end(all: Armed, name: FailpointName): never {
  const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  if (!isMainThread) Atomics.wait(never, 0, 0, LINGER_MS);
  report(all, name);
  process.kill(process.pid, 'SIGKILL');
  for (;;) Atomics.wait(never, 0, 0);
}

function report({ reportFile, counts }: Armed, killedAt: FailpointName | null): void {
  if (reportFile === null) return;
  const reached = Object.fromEntries(
    NAMES.map((name, place) => [name, Atomics.load(counts, place)]),
  ) as Record<FailpointName, number>;
  writeFileSync(reportFile, JSON.stringify({ reached, killedAt } satisfies FailpointReport));
}
