/**
 * The disk of one machine: a directory for each life of its daemon. Whoever is cut off keeps the
 * directory that he has, where nobody looks any more; the next life begins on a copy of what was
 * durable.
 *
 * K1  What a commit of SQLite returned for is durable where its connection runs under
 *     `synchronous=FULL`; otherwise `unsynced-log.ts` says what may be gone. Of other files that is
 *     what was synced, by name where its directory was synced after.
 * K2  When a process is killed the operating system writes everything that it was given. When the
 *     power goes, each file that was not synced since is as it was then, or as it is now.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  appendFileSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import { watchDisk } from './determinism.ts';
import { carryUnsynced, forgetUnsynced, loseUnsynced } from './unsynced-log.ts';

const TORN_BYTES_MAX = 6_000;

/** By path: what of it is durable. `staged` has no durable name yet. */
const staged = new Map<string, Buffer>();
const durable = new Map<string, Buffer>();

watchDisk({
  synced(path) {
    if (!existsSync(path)) return;
    if (!statSync(path).isDirectory()) {
      const content = readFileSync(path);
      staged.set(path, content);
      if (durable.has(path)) durable.set(path, content);
      return;
    }
    for (const [file, content] of staged) {
      if (dirname(file) !== path) continue;
      staged.delete(file);
      if (existsSync(file)) durable.set(file, content);
    }
    for (const file of durable.keys())
      if (dirname(file) === path && !existsSync(file)) durable.delete(file);
  },
  renamed(from, to) {
    const content = staged.get(from);
    staged.delete(from);
    if (content === undefined) staged.delete(to);
    else staged.set(to, content);
  },
});

export type LostTail = { readonly reverted: readonly string[]; readonly tornBytes: number };

export class Disk {
  readonly #root: string;
  #lives = 0;
  /** Copies that were made on purpose, by their numbers. */
  #copies = 0;

  constructor(root: string) {
    this.#root = root;
    mkdirSync(this.directory, { recursive: true });
  }

  /** Of the life that runs now, or ran last. */
  get directory(): string {
    return join(this.#root, `life-${this.#lives}`);
  }

  /** K2: of a killed process. */
  killed(): void {
    const from = this.directory;
    this.#lives += 1;
    copyAll(from, this.directory);
    for (const [path, content] of durable)
      if (path.startsWith(`${from}/`))
        durable.set(join(this.directory, relative(from, path)), content);
    for (const path of filesIn(this.directory))
      if (path.endsWith('.db')) carryUnsynced(join(from, relative(this.directory, path)), path);
  }

  /** K2: with the power. */
  powerLost(random: FakeRandom): LostTail {
    const before = this.directory;
    this.killed();
    const reverted: string[] = [];
    let tornBytes = 0;
    for (const path of filesIn(this.directory)) {
      if (path.endsWith('.db')) {
        const name = relative(this.directory, path);
        const lost = loseUnsynced(join(before, name), path, random);
        if (lost !== null) reverted.push(`${name}: ${lost}`);
        continue;
      }
      if (path.endsWith('.db-wal')) {
        // A write that was under way: its frames have no valid checksum.
        if (random.unit() < 0.5) continue;
        tornBytes = random.below(TORN_BYTES_MAX);
        appendFileSync(path, random.bytes(tornBytes));
        continue;
      }
      const was = durable.get(path);
      if (was !== undefined && was.equals(readFileSync(path))) continue;
      if (random.unit() < 0.5) continue;
      reverted.push(relative(this.directory, path));
      if (was === undefined) rmSync(path);
      else writeFileSync(path, was, { mode: 0o600 });
    }
    for (const [path, content] of durable)
      if (path.startsWith(`${this.directory}/`) && !existsSync(path) && existsSync(dirname(path)))
        writeFileSync(path, content, { mode: 0o600 });
    return { reverted, tornBytes };
  }

  /** A copy as a person makes it while nothing runs or writes; given back by `putBack`. */
  copy(): string {
    this.#copies += 1;
    const to = join(this.#root, `copy-${this.#copies}`);
    copyAll(this.directory, to);
    return to;
  }

  /** The whole directory, or only the files that `isPart` names; a new life. */
  putBack(copy: string, isPart: (path: string) => boolean = () => true): void {
    const from = this.directory;
    this.#lives += 1;
    mkdirSync(this.directory, { recursive: true });
    copyAll(from, this.directory, (path) => !isPart(path));
    copyAll(copy, this.directory, isPart);
    for (const path of filesIn(this.directory)) durable.set(path, readFileSync(path));
  }

  /** Another machine, or one whose disk was wiped. */
  wipe(): string {
    const before = this.directory;
    this.#lives += 1;
    mkdirSync(this.directory, { recursive: true });
    return before;
  }

  dispose(): void {
    forgetUnsynced(this.#root);
    rmSync(this.#root, { recursive: true, force: true });
    for (const map of [staged, durable])
      for (const path of map.keys()) if (path.startsWith(this.#root)) map.delete(path);
  }
}

/** The index of a log is no data: SQLite makes it anew. */
function copyAll(from: string, to: string, isPart: (path: string) => boolean = () => true): void {
  mkdirSync(to, { recursive: true });
  for (const path of filesIn(from)) {
    const name = relative(from, path);
    if (name.endsWith('-shm') || !isPart(name)) continue;
    const target = join(to, name);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(path, target);
  }
}

/** In the order of their names, so that what is drawn for each is the same in every run. */
function filesIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}
