/**
 * Whether a refusal is control's own. A problem document is believed only together with the
 * statement in its header, signed under a trusted key for this very request; else the answer is
 * somebody else's, says nothing about authority, and is an outage (I10).
 */
import type { TransportResponse } from '../../shared/client/transport.ts';
import type { Verifier } from '../../shared/platform/signatures.ts';
import {
  HostRefusalSchema,
  REFUSAL_HEADER,
  STATEMENT_TYPES,
  type HostRefusal,
} from '../../shared/wire/statements.ts';
import { unreachable, type Refused, type Unreachable } from './link-result.ts';

/** Of the request that was sent. */
export type RefusalBinding = Pick<HostRefusal, 'nonce' | 'hostId' | 'tokenSha256'>;

export async function confirmRefusal(
  claimed: Refused,
  { status, headers }: TransportResponse,
  { verifier, sent }: { readonly verifier: Verifier; readonly sent: RefusalBinding },
): Promise<Refused | Unreachable> {
  const doubt = (why: string): Unreachable =>
    unreachable('bad_answer', `a refusal that is not control's own (${claimed.code}): ${why}`);
  const statement = headers[REFUSAL_HEADER.toLowerCase()];
  if (statement === undefined) return doubt('it is not signed');
  const expected = { type: STATEMENT_TYPES.refusal, schema: HostRefusalSchema };
  const verified = await verifier.verify(statement, expected);
  if (!verified.ok) return doubt(`${verified.reason}: ${verified.detail}`);
  const said = verified.payload;
  if (said.nonce !== sent.nonce || said.tokenSha256 !== sent.tokenSha256)
    return doubt('it answers another request');
  if (said.hostId !== sent.hostId) return doubt(`it is for host ${said.hostId}`);
  if (said.code !== claimed.code || said.status !== status)
    return doubt(`what was signed is ${said.status} ${said.code}`);
  return { ...claimed, detail: said.detail };
}
