/**
 * A seeded bug: one place of the daemons' code that is wrong in one way, by name. Nothing on disk is
 * changed; the text is replaced while it is loaded, in a process of its own (`preload.ts`).
 */
import type { Promised } from '../history.ts';

export type Mutant = {
  readonly name: string;
  /** What is wrong with the daemons then, in a sentence. */
  readonly about: string;
  /** The promise that it breaks. Another checker may be the first to find it. */
  readonly promise: Promised;
  /** From the root of the repository. */
  readonly file: string;
  /** Occurs in the file once. */
  readonly find: string;
  readonly replace: string;
  /** Within so many seeds, from 1, it is to be found out. */
  readonly seedsMax: number;
};

export class MutantError extends Error {
  override name = 'MutantError';
}

/** The text with the bug in it. Throws where it does not say exactly one place. */
export function mutated({ name, file, find, replace }: Mutant, source: string): string {
  const places = source.split(find).length - 1;
  if (places !== 1) {
    const what = places === 0 ? 'is not there any more' : `is there ${places} times`;
    throw new MutantError(
      `mutant ${name}: what it looks for in ${file} ${what}; write its find anew: ${find}`,
    );
  }
  return source.replace(find, () => replace);
}
