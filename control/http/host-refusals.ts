/**
 * Signs what control refuses to a host. A sidecar withdraws authority on some refusals, and a
 * problem document alone could come from anybody who answers in control's place (I10).
 *
 * R1  Every 4xx answer to a request with a host's token, on a route that hosts use, carries a
 *     `HostRefusal` in its header. A 5xx carries none: it is control's failure, and withdraws
 *     nothing.
 * R2  It is bound to the digest of the very token that came. The nonce and the id alone are not
 *     enough: whoever sits between could copy them into a token of a key that nobody enrolled, have
 *     that one refused as `host_unknown`, and hand the refusal to the host.
 *
 * Refused enrolments are not signed: a join token that names another key of control is one of the
 * refusals, and no signature could be verified under the key that it names. Nothing is withdrawn by
 * them; a person reads them.
 */
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import { sha256Hex } from '../../shared/platform/digest.ts';
import type { App } from '../../shared/platform/http/app.ts';
import type { Signer } from '../../shared/platform/signatures.ts';
import {
  HostRefusalSchema,
  REFUSAL_HEADER,
  STATEMENT_TYPES,
  type HostRefusal,
} from '../../shared/wire/statements.ts';
import { hostTokenOf } from './access.ts';

/** A header has little room; the body has the whole detail. */
const DETAIL_LENGTH_MAX = 300;

const bindingChecker = Compile(
  Type.Object({
    iss: HostRefusalSchema.properties.hostId,
    nonce: HostRefusalSchema.properties.nonce,
  }),
);
const problemChecker = Compile(Type.Object({ code: Type.String(), detail: Type.String() }));

/** After the access checks, before the routes. */
export function installHostRefusals(app: App, { signer }: { readonly signer: Signer }): void {
  app.addHook('preSerialization', async (request, reply, payload) => {
    const { statusCode: status } = reply;
    const access = request.routeOptions.config.access?.kind;
    if (status < 400 || status >= 500) return payload;
    if (access !== 'host' && access !== 'host_or_operator') return payload;
    const token = hostTokenOf(request.headers.authorization);
    const binding = token === null ? null : bindingOf(token);
    if (binding === null || !problemChecker.Check(payload)) return payload;
    const refusal: HostRefusal = {
      ...binding,
      status,
      code: payload.code,
      detail: payload.detail.slice(0, DETAIL_LENGTH_MAX),
    };
    void reply.header(REFUSAL_HEADER, await signer.sign(STATEMENT_TYPES.refusal, refusal));
    return payload;
  });
}

/** R2. Of a token that need not verify: what it says is given back to who sent it, no more. */
function bindingOf(token: string): Pick<HostRefusal, 'nonce' | 'hostId' | 'tokenSha256'> | null {
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  } catch {
    return null;
  }
  if (!bindingChecker.Check(claims)) return null;
  return { nonce: claims.nonce, hostId: claims.iss, tokenSha256: sha256Hex(token) };
}
