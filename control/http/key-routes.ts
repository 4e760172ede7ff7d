/** The public keys of control, for services that verify what it signed without asking it. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { PROBLEMS } from './route-schemas.ts';
import { PublicKeySchema, type PublicKey } from '../../shared/wire/statements.ts';

/** A key that was added is known everywhere after so long: rotate with that overlap. */
const MAX_AGE_S = 300;

/** A key as it is trusted, with what RFC 7517 says of its use. */
const JwkSchema = Type.Object({
  ...PublicKeySchema.properties,
  use: Type.Literal('sig'),
  alg: Type.Literal('Ed25519'),
});

export function installKeyRoutes(app: App, ports: { trustKeys: readonly PublicKey[] }): void {
  const keys = ports.trustKeys.map((key) => ({
    ...key,
    use: 'sig' as const,
    alg: 'Ed25519' as const,
  }));
  app.get(
    '/.well-known/jwks.json',
    {
      config: { access: { kind: 'open' } },
      schema: {
        summary: 'Public keys of control, as a JSON Web Key Set (RFC 7517)',
        response: { 200: Type.Object({ keys: Type.Array(JwkSchema) }), ...PROBLEMS },
      },
    },
    async (_request, reply) =>
      reply.header('cache-control', `public, max-age=${MAX_AGE_S}`).send({ keys }),
  );
}
