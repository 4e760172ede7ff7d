/**
 * Statements: compact JWS signed with Ed25519 (RFC 9864's `alg: Ed25519`, one algorithm, an
 * explicit `typ`).
 *
 * A statement is verified in this order, and each failure has its own reason: `malformed` (no JWS,
 * or not ours), `algorithm_not_allowed`, `type_mismatch`, `key_unknown`, `signature_invalid`,
 * `payload_invalid`. Signing and verifying is done here and now, not on the pool of threads: control
 * does both for each sync of each host, and the way there and back costs as much as either.
 *
 * What a payload means (audience, nonce, revision, age) is checked by whoever
 * asked, after that.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  randomBytes,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { decodeProtectedHeader } from 'jose';
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { assert } from '../core/assert.ts';
import type { PublicKey, StatementType } from '../wire/statements.ts';

const ALGORITHM = 'Ed25519';
const STATEMENT_BYTES_MAX = 16 * 1024 * 1024;

export type PrivateKey = PublicKey & { readonly d: string };
export type SigningKey = PrivateKey & { readonly kid: string };

const SEED_BYTES = 32;
/** PKCS #8 of an Ed25519 key (RFC 8410), up to its 32 bytes. */
const PRIVATE_KEY_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * A new Ed25519 key; its `kid` is its RFC 7638 thumbprint. `seed` is the private key itself
 * (RFC 8032): 32 bytes that nobody can guess.
 */
export async function generateSigningKey(
  seed: Uint8Array = randomBytes(SEED_BYTES),
): Promise<SigningKey> {
  assert(seed.length === SEED_BYTES, `a key is made of ${SEED_BYTES} bytes, not of ${seed.length}`);
  const der = Buffer.concat([PRIVATE_KEY_HEAD, seed]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const { x = '', d = '' } = privateKey.export({ format: 'jwk' });
  const key = { kty: 'OKP', crv: 'Ed25519', x, d } as const;
  return { ...key, kid: await thumbprint(key) };
}

export function publicPart(key: SigningKey): PublicKey & { readonly kid: string } {
  return { kty: key.kty, crv: key.crv, x: key.x, kid: key.kid };
}

/** RFC 7638: the members that make the key, in the order of their names. */
export async function thumbprint({ crv, kty, x }: PublicKey): Promise<string> {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url');
}

export interface Signer {
  readonly kid: string;
  sign(type: StatementType, payload: unknown): Promise<string>;
}

export async function openSigner(key: SigningKey): Promise<Signer> {
  const imported = createPrivateKey({ key: { ...key }, format: 'jwk' });
  const { kid } = key;
  return {
    kid,
    async sign(type, payload) {
      const header = encode(JSON.stringify({ alg: ALGORITHM, kid, typ: type }));
      const signed = `${header}.${encode(JSON.stringify(payload))}`;
      return `${signed}.${sign(null, Buffer.from(signed), imported).toString('base64url')}`;
    },
  };
}

/** Of a statement that this daemon signed itself and has kept: it is not verified. */
export function ownPayload(statement: string): unknown {
  return JSON.parse(Buffer.from(statement.split('.', 2)[1] ?? '', 'base64url').toString());
}

/** Of such a statement; costs nothing beside its payload. */
export function ownKid(statement: string): string {
  return decodeProtectedHeader(statement).kid ?? '';
}

export const VERIFY_REASONS = [
  'malformed',
  'algorithm_not_allowed',
  'type_mismatch',
  'key_unknown',
  'signature_invalid',
  'payload_invalid',
] as const;
export type VerifyReason = (typeof VERIFY_REASONS)[number];

export type Verified<T> =
  | { readonly ok: true; readonly payload: T; readonly kid: string }
  | { readonly ok: false; readonly reason: VerifyReason; readonly detail: string };

/** Verifies statements under a fixed set of keys. */
export interface Verifier {
  verify<T extends TSchema>(
    statement: string,
    expected: { type: StatementType; schema: T },
  ): Promise<Verified<Static<T>>>;
}

export async function openVerifier(keys: readonly PublicKey[]): Promise<Verifier> {
  // By its thumbprint whatever its `kid` says, which adds a name and takes none: what was signed before
  // the key was called otherwise is verified on.
  const named = new Map<string, KeyObject>();
  const imported = new Map<string, KeyObject>();
  for (const key of keys) {
    const { kty, crv, x } = key;
    const publicKey = createPublicKey({ key: { kty, crv, x }, format: 'jwk' });
    imported.set(await thumbprint(key), publicKey);
    if (key.kid !== undefined) named.set(key.kid, publicKey);
  }
  const known = new Map([...named, ...imported]);
  return { verify: async (statement, expected) => verifyStatement(statement, expected, known) };
}

function verifyStatement<T extends TSchema>(
  statement: string,
  expected: { type: StatementType; schema: T },
  keys: ReadonlyMap<string, KeyObject>,
): Verified<Static<T>> {
  const failed = (reason: VerifyReason, detail: string) => ({ ok: false, reason, detail }) as const;
  if (statement.length > STATEMENT_BYTES_MAX)
    return failed(
      'malformed',
      `${statement.length} bytes are over the bound of ${STATEMENT_BYTES_MAX}`,
    );
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    header = decodeProtectedHeader(statement);
  } catch {
    return failed('malformed', 'not a compact JWS');
  }
  if (header.alg !== ALGORITHM)
    return failed(
      'algorithm_not_allowed',
      `alg is ${String(header.alg)}, only ${ALGORITHM} is allowed`,
    );
  if (header.typ !== expected.type)
    return failed('type_mismatch', `typ is ${String(header.typ)}, expected ${expected.type}`);
  const kid = header.kid ?? '';
  const key = keys.get(kid);
  if (key === undefined) return failed('key_unknown', `no trusted key has id ${kid || '(none)'}`);
  const bytes = signedBytes(statement, header, key);
  if (typeof bytes === 'string') return failed('signature_invalid', bytes);
  let payload: unknown;
  try {
    payload = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    return failed('payload_invalid', error instanceof Error ? error.message : String(error));
  }
  const check = checkerOf(expected.schema);
  if (check.Check(payload)) return { ok: true, payload, kid };
  const first = check.Errors(payload)[0];
  return failed(
    'payload_invalid',
    first ? `${first.instancePath || '/'} ${first.message}` : 'does not fit its schema',
  );
}

/** The bytes of the payload, or what is wrong with the signature. */
function signedBytes(
  statement: string,
  header: Readonly<Record<string, unknown>>,
  key: KeyObject,
): Buffer | string {
  // Both would change what is signed; RFC 7515 refuses what is critical and not understood.
  if (header['crit'] !== undefined || header['b64'] !== undefined) {
    return 'the header has extensions, and none is understood';
  }
  const [protectedPart = '', payloadPart = '', signaturePart = '', ...more] = statement.split('.');
  const signature = Buffer.from(signaturePart, 'base64url');
  const payload = Buffer.from(payloadPart, 'base64url');
  // The decoder passes over what is no base64url; two texts must not be one statement.
  const isExact =
    more.length === 0 && encode(signature) === signaturePart && encode(payload) === payloadPart;
  if (!isExact) return 'its parts are not base64url';
  const isSigned = verify(null, Buffer.from(`${protectedPart}.${payloadPart}`), key, signature);
  return isSigned ? payload : 'signature verification failed';
}

const encode = (data: string | Uint8Array): string => Buffer.from(data).toString('base64url');

const checkers = new WeakMap<TSchema, ReturnType<typeof Compile>>();

function checkerOf<T extends TSchema>(
  schema: T,
): {
  Check(value: unknown): value is Static<T>;
  Errors(value: unknown): { instancePath: string; message: string }[];
} {
  let checker = checkers.get(schema);
  if (checker === undefined) {
    checker = Compile(schema);
    checkers.set(schema, checker);
  }
  return checker as never;
}
