import { randomBytes } from 'node:crypto';

/** The only source of randomness. */
export interface Random {
  /** In [0, 1). */
  unit(): number;
  bytes(size: number): Uint8Array;
}

/** One call to the system gives enough for hundreds of ids; no byte is given twice. */
const POOL_BYTES = 8_192;

export class SystemRandom implements Random {
  #pool = randomBytes(POOL_BYTES);
  #used = 0;

  unit(): number {
    return Math.random();
  }

  bytes(size: number): Uint8Array {
    if (size > POOL_BYTES) return randomBytes(size);
    if (this.#used + size > POOL_BYTES) {
      this.#pool = randomBytes(POOL_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += size;
    return this.#pool.subarray(start, this.#used);
  }
}

/** A fresh nonce or secret of `size` random bytes, base64url. */
export function randomText(random: Random, size: number): string {
  return Buffer.from(random.bytes(size)).toString('base64url');
}
