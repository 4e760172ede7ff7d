import type { IncomingHttpHeaders } from 'node:http';
import { IDEMPOTENCY_KEY_PATTERN } from '../../shared/wire/sidecar-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';

const KEY = new RegExp(IDEMPOTENCY_KEY_PATTERN);

/**
 * The key as draft-07 writes it (a quoted string) or bare; `null` where there is none. Throws
 * `idempotency_key_invalid`.
 */
export function readIdempotencyKey(headers: IncomingHttpHeaders): string | null {
  const raw = headers['idempotency-key'];
  if (raw === undefined) return null;
  const text = Array.isArray(raw) ? raw.join(',') : raw;
  const key = /^"(.*)"$/s.exec(text)?.[1] ?? text;
  if (KEY.test(key) && !/["\\,]/.test(key)) return key;
  throw new HoldfastError(
    'idempotency_key_invalid',
    `Idempotency-Key must be 1 to 200 printable characters without spaces, quotes, commas or backslashes, and sent once; got ${JSON.stringify(text.slice(0, 80))}`,
    {
      errors: [{ path: 'header:idempotency-key', message: 'is malformed' }],
    },
  );
}

export function requireIdempotencyKey(headers: IncomingHttpHeaders): string {
  const key = readIdempotencyKey(headers);
  if (key !== null) return key;
  throw new HoldfastError(
    'idempotency_key_missing',
    'send an Idempotency-Key header: a name of your own for this operation, the same on every retry',
    {
      errors: [{ path: 'header:idempotency-key', message: 'is required' }],
    },
  );
}
