import { expect, test } from 'vitest';
import { calculateJwkThumbprint } from 'jose';
import { generateSigningKey, thumbprint } from '../../../shared/platform/signatures.ts';

// RFC 8032, 7.1, test 1.
const SEED = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
const PUBLIC = Buffer.from(
  'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  'hex',
);

test('a key is the one that its seed makes, and no other', async () => {
  const key = await generateSigningKey(SEED);
  expect(key.x).toBe(PUBLIC.toString('base64url'));
  expect(key.d).toBe(SEED.toString('base64url'));
  expect((await generateSigningKey()).x).not.toBe((await generateSigningKey()).x);
});

test('the id of a key is its RFC 7638 thumbprint, as others compute it', async () => {
  const key = await generateSigningKey();
  const { kty, crv, x } = key;
  expect(key.kid).toBe(await calculateJwkThumbprint({ kty, crv, x }));
  expect(await thumbprint(key)).toBe(key.kid);
});
