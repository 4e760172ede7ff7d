/** Every seeded bug, by name. Each must be found out. */
import { AUTHORITY_MUTANTS } from './authority.ts';
import { DURABILITY_MUTANTS } from './durability.ts';
import { LEASE_MUTANTS } from './leases.ts';
import type { Mutant } from './mutant.ts';
import { WORK_MUTANTS } from './work.ts';

export const MUTANTS: readonly Mutant[] = [
  ...DURABILITY_MUTANTS,
  ...AUTHORITY_MUTANTS,
  ...LEASE_MUTANTS,
  ...WORK_MUTANTS,
];

export function mutantNamed(name: string): Mutant | null {
  return MUTANTS.find((mutant) => mutant.name === name) ?? null;
}

/** Those with the text in their names; without one, all. */
export function mutantsLike(text: string): readonly Mutant[] {
  if (text === '') return MUTANTS;
  return MUTANTS.filter(({ name }) => name.includes(text));
}
