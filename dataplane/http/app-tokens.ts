/**
 * The apps that may call: a file names each one, its bearer token, and the principals it may speak
 * for.
 */
import Type, { type Static } from 'typebox';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { readSecretFile } from '../../shared/platform/secret-file.ts';
import { StartError } from '../../shared/platform/shutdown.ts';

const AppsFileSchema = Type.Object(
  {
    apps: Type.Array(
      Type.Object(
        {
          name: Type.String({ pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' }),
          token: Type.String({ minLength: 16, maxLength: 500 }),
          principals: Type.Array(Type.String({ minLength: 1, maxLength: 210 }), {
            minItems: 1,
            description: 'exact, or a prefix ending in *',
          }),
          operator: Type.Optional(
            Type.Boolean({ description: 'sees and settles the operations of every app' }),
          ),
        },
        { additionalProperties: false },
      ),
      { minItems: 1 },
    ),
  },
  { additionalProperties: false },
);

export type App = {
  readonly name: string;
  readonly principals: readonly string[];
  readonly operator: boolean;
};

/** `null`: no such token. Time tells nothing of the tokens that there are. */
export type AppTokens = (token: string) => App | null;

export const ANYONE: App = { name: 'anonymous', principals: ['*'], operator: true };

/** Throws a `StartError` that names the place and the way out. */
export function loadAppTokens(path: string): AppTokens {
  const content = readSecretFile(path, {
    name: 'apps',
    schema: AppsFileSchema,
    form: 'apps: [{name, token, principals}]',
  });
  return tokensOf(content);
}

function tokensOf(file: Static<typeof AppsFileSchema>): AppTokens {
  const byDigest = new Map<string, App>();
  for (const { name, token, principals, operator } of file.apps) {
    const digest = sha256Hex(token);
    const other = byDigest.get(digest);
    if (other !== undefined)
      throw new StartError(`apps ${other.name} and ${name} have the same token: give each its own`);
    byDigest.set(digest, { name, principals, operator: operator ?? false });
  }
  // Those that were right once, so at most as many as the file has: the caller of every request is
  // not hashed anew. A look-up compares texts only where their seeded hashes are equal.
  const known = new Map<string, App>();
  return (token) => {
    const app = known.get(token) ?? byDigest.get(sha256Hex(token)) ?? null;
    if (app !== null) known.set(token, app);
    return app;
  };
}

/** Throws `principal_not_allowed`. */
export function requireMaySpeakFor(app: App, principal: string): void {
  const maySpeak = app.principals.some((allowed) =>
    allowed.endsWith('*') ? principal.startsWith(allowed.slice(0, -1)) : allowed === principal,
  );
  if (maySpeak) return;
  throw new HoldfastError(
    'principal_not_allowed',
    `app ${app.name} may not speak for ${principal}: its principals are ${app.principals.join(', ')}`,
  );
}
