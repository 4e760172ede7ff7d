import { randomBytes } from 'node:crypto';

/** The only source of randomness. */
export interface Random {
  /** In [0, 1). */
  unit(): number;
  bytes(size: number): Uint8Array;
}

export class SystemRandom implements Random {
  unit(): number {
    return Math.random();
  }

  bytes(size: number): Uint8Array {
    return randomBytes(size);
  }
}

/** A fresh nonce or secret of `size` random bytes, base64url. */
export function randomText(random: Random, size: number): string {
  return Buffer.from(random.bytes(size)).toString('base64url');
}
