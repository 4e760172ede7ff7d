/**
 * A small ext4 file system in a file, and a power cut of it: the EXT4 shutdown call drops everything
 * that has not reached the disk, journal of the file system included, and lets nothing more through.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { CannotRunHere } from '../campaign.ts';
import { killNow, type Undo } from '../undo.ts';

const PERL = 'perl';
/** Without which there is no such disk. */
export const LOOP_DISK_PROGRAMS = ['mkfs.ext4', 'mount', 'umount', 'sync', PERL];

const PROGRAM_BOUND_MS = 20_000;

/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, as soon as a line comes. Node has no ioctl. */
const CUT = `use Fcntl;
sysopen(my $dir, $ARGV[0], O_RDONLY) or die "open: $!";
$| = 1; print "armed\\n"; <STDIN>;
my $flags = pack("L", 2);
ioctl($dir, 0x8004587d, $flags) or die "ioctl: $!";
print "cut\\n";`;

export type ArmedCut = { readonly cut: () => Promise<void> };

export class LoopDisk {
  readonly directory: string;
  readonly #image: string;
  readonly #undo: Undo;
  readonly #options: readonly string[];
  #unmount: (() => void) | null = null;

  /** Made and mounted. `path` names the image; the directory stands beside it. */
  constructor(
    path: string,
    undo: Undo,
    { sizeMb, mountOptions = [] }: { readonly sizeMb: number; readonly mountOptions?: string[] },
  ) {
    this.#image = `${path}.img`;
    this.directory = path;
    this.#undo = undo;
    this.#options = ['loop', ...mountOptions];
    mkdirSync(this.directory, { recursive: true });
    rmSync(this.#image, { force: true });
    writeFileSync(this.#image, '');
    truncateSync(this.#image, sizeMb * 1024 * 1024);
    runProgram('mkfs.ext4', ['-q', '-F', '-m', '0', this.#image]);
    this.mount();
  }

  /** After a cut: what comes back is what had reached the disk. */
  remount(): void {
    this.unmount();
    this.mount();
  }

  mount(): void {
    runProgram('mount', ['-o', this.#options.join(','), this.#image, this.directory]);
    this.#unmount = this.#undo.add(`mount ${this.directory}`, () => unmount(this.directory));
  }

  /** As an operator, or the kernel after an error; no file there may be open for writing. */
  become(mode: 'ro' | 'rw'): void {
    runProgram('mount', ['-o', `remount,${mode}`, this.directory]);
  }

  /** Nothing may have files open there any more. */
  unmount(): void {
    this.#unmount?.();
    this.#unmount = null;
  }

  /** Everything written so far is on the disk. */
  sync(): void {
    runProgram('sync', ['-f', this.directory]);
  }

  get usedShare(): number {
    const { blocks, bfree } = statfsSync(this.directory);
    return 1 - bfree / blocks;
  }

  get totalBytes(): number {
    const { blocks, bsize } = statfsSync(this.directory);
    return blocks * bsize;
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.directory);
    return bavail * bsize;
  }

  remove(): void {
    this.unmount();
    rmSync(this.#image, { force: true });
  }

  /** Prepares the cut, so that it happens at once when it is asked for. */
  async arm(): Promise<ArmedCut> {
    const child = spawn(PERL, ['-e', CUT, this.directory], { stdio: ['pipe', 'pipe', 'pipe'] });
    const gone = this.#undo.add(`perl ${child.pid}`, () => killNow(child));
    const armed = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<string>();
    let said = '';
    child.stdin.on('error', () => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said.includes('armed')) armed.resolve();
      });
    }
    child.once('close', () => {
      gone();
      armed.resolve();
      ended.resolve(said);
    });
    await armed.promise;
    return {
      cut: async () => {
        child.stdin.end('\n');
        const text = await ended.promise;
        if (!text.includes('cut'))
          throw new CannotRunHere(`this file system cannot be cut: ${text.trim()}`);
      },
    };
  }
}

export function unmount(directory: string): void {
  try {
    runProgram('umount', [directory]);
  } catch (error) {
    // Nothing is left behind, even where a process that is being killed still holds a file.
    runProgram('umount', ['--lazy', directory]);
    throw error;
  }
}

function runProgram(program: string, args: readonly string[]): void {
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
  const { status, stderr, error } = spawnSync(program, args, {
    env,
    encoding: 'utf8',
    timeout: PROGRAM_BOUND_MS,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new CannotRunHere(`${program} ${args.join(' ')}: ${stderr.trim()}`);
}
