/**
 * Join tokens: `hfj1.<id>.<secret>.<thumbprint>`. The thumbprint names control's signing key, so
 * that the very first answer is verified under a key that came out of band: there is no trust on
 * first use.
 */
import { Compile } from 'typebox/compile';
import { openVerifier, thumbprint, type Verifier } from '../../shared/platform/signatures.ts';
import Type from 'typebox';
import { PublicKeySchema } from '../../shared/wire/statements.ts';

const JOIN_TOKEN = /^hfj1\.[A-Za-z0-9_-]{1,100}\.[A-Za-z0-9_-]{1,200}\.([A-Za-z0-9_-]{43})$/;

export type JoinToken = { readonly text: string; readonly keyThumbprint: string };

export function parseJoinToken(text: string): JoinToken | null {
  const match = JOIN_TOKEN.exec(text.trim());
  const keyThumbprint = match?.[1];
  return keyThumbprint === undefined ? null : { text: text.trim(), keyThumbprint };
}

const offeredKeys = Compile(
  Type.Object({ trust: Type.Object({ keys: Type.Array(PublicKeySchema) }) }),
);

/**
 * The verifier for an enrolment: of the keys that the statement itself offers, only the one whose
 * thumbprint was pinned. `null` where it is not among them.
 */
export async function openPinnedVerifier(
  statement: string,
  keyThumbprint: string,
): Promise<Verifier | null> {
  let claimed: unknown;
  try {
    claimed = JSON.parse(Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString('utf8'));
  } catch {
    return null;
  }
  if (!offeredKeys.Check(claimed)) return null;
  for (const { kty, crv, x } of claimed.trust.keys) {
    // The thumbprint takes the place of whatever id the statement gives its key.
    if ((await thumbprint({ kty, crv, x })) === keyThumbprint)
      return openVerifier([{ kty, crv, x }]);
  }
  return null;
}
