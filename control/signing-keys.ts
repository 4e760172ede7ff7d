/** The keys of control on disk: made at the first start, readable by its user alone. */
import { join } from 'node:path';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { readFileIfAny, writeDurableFile } from '../shared/platform/durable-file.ts';
import { generateSigningKey, type SigningKey } from '../shared/platform/signatures.ts';
import { StoreError } from '../shared/platform/sqlite.ts';

const word = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' });
const SigningKeysSchema = Type.Object({
  keys: Type.Array(
    Type.Object({
      kty: Type.Literal('OKP'),
      crv: Type.Literal('Ed25519'),
      x: word,
      d: word,
      kid: word,
    }),
    { minItems: 1, maxItems: 8, description: 'the first one signs; all of them are trusted' },
  ),
});

export type SigningKeys = readonly [SigningKey, ...SigningKey[]];

export async function openSigningKeys(directory: string): Promise<SigningKeys> {
  const path = join(directory, 'signing-keys.json');
  const text = readFileIfAny(path);
  if (text === null) {
    const keys: SigningKeys = [await generateSigningKey()];
    writeDurableFile(path, `${JSON.stringify({ keys }, null, 2)}\n`);
    return keys;
  }
  const [first, ...others] = parseKeys(text) ?? [];
  if (first !== undefined) return [first, ...others];
  throw new StoreError(
    'corrupt',
    `${path} is damaged: restore it from a backup; without it every host must be enrolled again`,
  );
}

function parseKeys(text: string): readonly SigningKey[] | null {
  try {
    const value: unknown = JSON.parse(text);
    return Value.Check(SigningKeysSchema, value) ? value.keys : null;
  } catch {
    return null;
  }
}
