/**
 * A network namespace for one host, with one wire to this one. What is cut is the way of the packets,
 * either way by itself: who sends is given a neighbour that nobody is, so that the kernel sends into
 * nothing and no one is told.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Undo } from '../undo.ts';

const NAMED = /^holdfast-(\d+)-\d+$/;
const NOBODY = '02:00:00:00:00:01';
/** RFC 2544: for tests of networks; on no other wire. Blocks of four addresses. */
const NETWORK = '198.18';
const BLOCKS = 64 * 256;

export class HostNetwork {
  readonly name: string;
  /** Of this end of the wire, which the host reaches. */
  readonly nearAddress: string;
  readonly #farAddress: string;
  readonly #nearLink: string;
  readonly #macs: { readonly near: string; readonly far: string };

  /** Throws where this machine has no such thing, or this user may not make it. */
  constructor(index: number, undo: Undo) {
    const block = (process.pid * 2 + index) % BLOCKS;
    const at = (offset: number): string =>
      `${NETWORK}.${Math.floor(block / 64)}.${(block % 64) * 4 + offset}`;
    this.name = `holdfast-${process.pid}-${index}`;
    this.nearAddress = at(1);
    this.#farAddress = at(2);
    this.#nearLink = `hf${process.pid}-${index}`;
    ip('netns', 'add', this.name);
    undo.add(`network namespace ${this.name}`, () => ip('netns', 'delete', this.name));
    ip('link', 'add', this.#nearLink, 'type', 'veth', 'peer', 'name', 'wire', 'netns', this.name);
    undo.add(`link ${this.#nearLink}`, () => ip('link', 'delete', this.#nearLink));
    ip('address', 'add', `${this.nearAddress}/30`, 'dev', this.#nearLink);
    ip('link', 'set', this.#nearLink, 'up');
    this.#inside('address', 'add', `${this.#farAddress}/30`, 'dev', 'wire');
    this.#inside('link', 'set', 'wire', 'up');
    this.#inside('link', 'set', 'lo', 'up');
    this.#macs = {
      near: macOf(ip('-o', 'link', 'show', this.#nearLink)),
      far: macOf(this.#inside('-o', 'link', 'show', 'wire')),
    };
    this.set({ up: true, down: true });
  }

  /** The program and arguments that run a command in it. */
  get command(): string[] {
    return ['ip', 'netns', 'exec', this.name];
  }

  /** `up`: from the host to here. */
  set({ up, down }: { readonly up: boolean; readonly down: boolean }): void {
    const neighbour = (address: string, mac: string, link: string): string[] => [
      'neigh',
      'replace',
      address,
      'lladdr',
      mac,
      'nud',
      'permanent',
      'dev',
      link,
    ];
    this.#inside(...neighbour(this.nearAddress, up ? this.#macs.near : NOBODY, 'wire'));
    ip(...neighbour(this.#farAddress, down ? this.#macs.far : NOBODY, this.#nearLink));
  }

  #inside(...args: readonly string[]): string {
    return ip('-n', this.name, ...args);
  }
}

/** Those of runs that were killed are taken away; their names come back. */
export function clearNamespaces(): string[] {
  try {
    const names = ip('netns', 'list')
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '');
    const left = names.filter((name) => {
      const pid = NAMED.exec(name)?.[1];
      return pid !== undefined && !existsSync(`/proc/${pid}`);
    });
    for (const name of left) ip('netns', 'delete', name);
    return left;
  } catch {
    // No such program, or another user's.
    return [];
  }
}

/** `null`: they can be made here; or why not. */
export function whyNoNamespaces(): string | null {
  if (process.getuid?.() !== 0) return 'not root';
  try {
    const trial = `holdfast-${process.pid}-0`;
    ip('netns', 'add', trial);
    ip('netns', 'delete', trial);
    return null;
  } catch (error) {
    return error instanceof Error ? (error.message.split('\n')[0] ?? error.message) : String(error);
  }
}

function macOf(shown: string): string {
  const mac = /link\/ether ([0-9a-f:]{17})/.exec(shown)?.[1];
  if (mac === undefined) throw new Error(`no address in ${shown}`);
  return mac;
}

function ip(...args: readonly string[]): string {
  const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  return execFileSync('ip', args, {
    encoding: 'utf8',
    env: { PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
