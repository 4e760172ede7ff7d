/** A signed statement after it was signed: whatever is done to it, nobody signed what it is then. */
import type { Draw } from './draw.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const HEADERS = [
  { alg: 'none' },
  { alg: 'HS256' },
  { alg: 'Ed25519' },
  { alg: 'EdDSA', typ: 'JWT' },
  { alg: 'Ed25519', typ: 'holdfast-bundle+jws', kid: '__proto__' },
  { alg: 'Ed25519', crit: ['b64'], b64: false },
  {},
  [],
  null,
];

/** Never what it was. */
export function damageStatement(statement: string, draw: Draw): string {
  for (;;) {
    const damaged = damage(statement, draw);
    if (damaged !== statement) return damaged;
  }
}

function damage(statement: string, draw: Draw): string {
  const parts = statement.split('.');
  const [head = '', payload = '', signature = ''] = parts;
  const at = draw.below(statement.length);
  switch (draw.below(12)) {
    case 0:
    case 1:
    case 2:
      return `${statement.slice(0, at)}${ALPHABET[draw.below(64)] ?? 'A'}${statement.slice(at + 1)}`;
    case 3:
      return statement.slice(0, at);
    case 4:
      return `${statement.slice(0, at)}${draw.one(['=', '.', ' ', '\n', '\0', 'é', '%'])}${statement.slice(at)}`;
    case 5:
      return `${encode(draw.one(HEADERS))}.${payload}.${draw.one(['', signature])}`;
    case 6: {
      const said = decode(payload);
      const key = draw.one(Object.keys(said));
      return `${head}.${encode({ ...said, [key]: draw.one([null, 0, -1, '', {}, 2 ** 53, true]) })}.${signature}`;
    }
    case 7:
      return `${head}.${payload}.${draw.bytes(64).toString('base64url')}`;
    case 8:
      return draw.one([
        `${statement}.`,
        `.${statement}`,
        `${statement}.${signature}`,
        `${signature}.${payload}.${head}`,
        '..',
        '',
      ]);
    case 9:
      return JSON.stringify({ protected: head, payload, signature });
    case 10:
      return `${head}=.${payload}.${signature}`;
    default:
      return draw.bytes(draw.between(1, 300)).toString('latin1');
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

export function decode(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
}
