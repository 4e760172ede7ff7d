/** Options that several commands share, read and checked in one way. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { DaemonName } from '../connections.ts';

export type PageFlags = { readonly limit: number; readonly cursor?: string };

export function withPageFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--limit <count>', 'print at most this many').argParser(parseCount).default(100),
    )
    .option('--cursor <cursor>', 'go on where an earlier list ended');
}

/** Both daemons know much of the same; which one is asked is the caller's choice. */
export function fromFlag(standard: DaemonName): Option {
  return new Option('--from <daemon>', 'ask the sidecar of this host, or control about all hosts')
    .choices(['sidecar', 'control'])
    .default(standard);
}

export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^[0-9]+$/.test(text) || count < 1 || count > 100_000) {
    throw new InvalidArgumentError('It must be a whole number from 1 to 100000.');
  }
  return count;
}

export function parseRevision(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
