/**
 * The directories of a run, and what a run that was killed has left of them. A run that ends takes its own
 * back by `Undo`; one that is killed cannot, so the next one does it, and says so.
 *
 * R1  The name of a directory says whose it is: the process, when that began, and among which processes.
 *     It is left over once that process is gone. What another user, another container or a run that goes
 *     on has there is not touched.
 * R2  What was started for a directory names it on its command line or in its environment, and is ended
 *     before the directory goes; what is mounted below it is unmounted. No other process is ended.
 */
import { lstatSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clearNamespaces } from './inject/host-network.ts';
import { unmount } from './inject/loop-disk.ts';
import { isGone, untilGone, type Undo } from './undo.ts';

const SCRATCH = /^holdfast-[a-z]+-(\d+)-([0-9a-z]+)-([0-9a-z]+)-\w{6}$/;
const BASE = 36;

/** One of this run, made; the function takes it away before the end of the run. */
export function scratchDirectory(
  undo: Undo,
  kind: string,
): { readonly root: string; readonly remove: () => void } {
  const root = mkdtempSync(join(tmpdir(), `holdfast-${kind}-${ownMark()}-`));
  const remove = undo.add(`directory ${root}`, () =>
    rmSync(root, { recursive: true, force: true }),
  );
  return { root, remove };
}

/** What is mounted in a directory of this run: nothing, once it is over. */
export function ownMounts(): string[] {
  return mountPoints().filter((path) => path.includes(`-${ownMark()}-`));
}

/** Takes away what runs that were killed have left here, and says of each what it was. */
export function clearLeftovers(say: (text: string) => void): void {
  for (const name of readdirSync(tmpdir())) {
    const directory = join(tmpdir(), name);
    if (!isLeftOver(name, directory)) continue;
    const processes = processesOf(directory);
    const mounts = mountsBelow(directory);
    try {
      for (const pid of processes) end(pid);
      for (const mount of mounts) unmount(mount);
      rmSync(directory, { recursive: true, force: true });
    } catch (error) {
      say(`a run that was killed has left ${directory}, which cannot be removed: ${String(error)}`);
      continue;
    }
    say(
      `a run that was killed had left ${directory}, ${processes.length} processes ` +
        `and ${mounts.length} mounts: taken away`,
    );
  }
  for (const name of clearNamespaces())
    say(`a run that was killed had left the network namespace ${name}: taken away`);
}

/** R1. */
function isLeftOver(name: string, directory: string): boolean {
  const [, pid = '', began, among] = SCRATCH.exec(name) ?? [];
  if (pid === '' || among !== processNamespace() || beganAt(Number(pid)) === began) return false;
  const stats = lstatSync(directory, { throwIfNoEntry: false });
  return stats?.isDirectory() === true && stats.uid === process.getuid?.();
}

function ownMark(): string {
  return `${process.pid}-${beganAt(process.pid)}-${processNamespace()}`;
}

/** In ticks since the machine was started; `null` where there is no such process. */
function beganAt(pid: number): string | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return Number(fields[19]).toString(BASE);
  } catch {
    return null;
  }
}

function processNamespace(): string {
  const id = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  return Number(id).toString(BASE);
}

/** R2. */
function processesOf(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => `${textOf(pid, 'cmdline')}\0${textOf(pid, 'environ')}`.includes(directory))
    .map(Number);
}

function textOf(pid: string, file: 'cmdline' | 'environ'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // It has ended, or is another user's.
    return '';
  }
}

function end(pid: number): void {
  if (isGone(pid)) return;
  process.kill(pid, 'SIGKILL');
  untilGone(pid);
}

/** The innermost first. */
function mountsBelow(directory: string): string[] {
  return mountPoints()
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .toReversed();
}

function mountPoints(): string[] {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) =>
      (line.split(' ')[1] ?? '').replaceAll(/\\(\d{3})/g, (_, octal: string) =>
        String.fromCodePoint(Number.parseInt(octal, 8)),
      ),
    );
}
