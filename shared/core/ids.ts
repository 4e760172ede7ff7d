import type { WallMs } from './time.ts';

/** Crockford's alphabet: no I, L, O, U, and it sorts as its bytes do. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

export type IdPrefix = 'op' | 'ref' | 'out' | 'host' | 'join' | 'ctl' | 'prop' | 'apr' | 'ntc';

/**
 * A new id: prefix, 48 bits of wall time, 80 random bits, as in ULID. Time is there so that ids
 * list in the order of their making; nothing is ever decided by it.
 */
export function makeId(prefix: IdPrefix, wallMs: WallMs, random: Uint8Array): string {
  let time = '';
  let rest = Math.max(0, Math.floor(wallMs));
  for (let digit = 0; digit < 10; digit += 1) {
    time = `${ALPHABET[rest % 32] ?? '0'}${time}`;
    rest = Math.floor(rest / 32);
  }
  let tail = '';
  for (let digit = 0; digit < 16; digit += 1) {
    tail += ALPHABET[(random[digit] ?? 0) % 32] ?? '0';
  }
  return `${prefix}_${time}${tail}`;
}
