import { HoldfastError } from '../../shared/wire/problem.ts';

/** Cursors are opaque to callers: today, the journal position that a listing continues below. */
export function encodeCursor(seq: number): string {
  return Buffer.from(`seq:${seq}`).toString('base64url');
}

/** Of a listing that goes down: without one it begins above all. */
export function decodeCursor(cursor: string | undefined): number {
  return cursor === undefined ? Number.MAX_SAFE_INTEGER : decodeSeq(cursor);
}

export function decodeSeq(cursor: string): number {
  const seq = Number(/^seq:([0-9]{1,16})$/.exec(Buffer.from(cursor, 'base64url').toString())?.[1]);
  if (Number.isSafeInteger(seq)) return seq;
  throw new HoldfastError(
    'invalid_request',
    'the cursor is not one that this daemon gave: start the listing again without it',
    {
      errors: [{ path: 'query:cursor', message: 'is malformed' }],
    },
  );
}
