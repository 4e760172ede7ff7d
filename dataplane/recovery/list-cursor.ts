/** Cursors of the lists of an outage: opaque to callers; today, a place in the journal. */
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { RecoveryList } from '../../shared/wire/recovery-api.ts';

export type ListPlace = {
  readonly list: RecoveryList;
  readonly outageId: string | null;
  readonly seq: number;
};

export function encodeListCursor({ list, outageId, seq }: ListPlace): string {
  return Buffer.from(`${list}:${outageId ?? ''}:${seq}`).toString('base64url');
}

/** It must be of the list that is read, and of the outage that is named beside it. */
export function decodeListCursor(
  cursor: string,
  asked: { readonly list: RecoveryList; readonly outageId: string | null },
): Pick<ListPlace, 'outageId' | 'seq'> {
  const text = Buffer.from(cursor, 'base64url').toString();
  const [, list, outage = '', digits] = /^([a-z_]+):([^:]*):([0-9]{1,16})$/.exec(text) ?? [];
  const seq = Number(digits);
  const outageId = outage === '' ? null : outage;
  if (!Number.isSafeInteger(seq)) throw unusable('is not one that this daemon gave');
  if (list !== asked.list) throw unusable(`is of the list ${list}, and ${asked.list} is asked for`);
  if (asked.outageId !== null && asked.outageId !== outageId)
    throw unusable(`is of outage ${outageId ?? 'none'}, and ${asked.outageId} is asked for`);
  return { outageId, seq };
}

function unusable(why: string): HoldfastError {
  return new HoldfastError(
    'invalid_request',
    `the cursor ${why}: start the listing again without it`,
    { errors: [{ path: 'query:cursor', message: 'is of no use here' }] },
  );
}
