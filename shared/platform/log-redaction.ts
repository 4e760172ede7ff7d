/**
 * What never gets into a log (both daemons).
 *
 * L1  Fields with these names, as far down as facts of a line go: keys and tokens, and what apps send.
 * L2  Whatever looks like a credential inside any text, an error's message included: a field that
 *     nobody thought of must not be the hole.
 */
const SECRET_FIELDS = [
  'token',
  'joinToken',
  'adminToken',
  'secret',
  'privateKey',
  'password',
  'authorization',
  'cookie',
  'attributes',
  'resourceAttributes',
  'checkpoint',
  'payload',
  'result',
  'body',
];
/** Deeper than anything that is logged: `err.cause.headers.authorization`. */
const DEPTH_MAX = 4;

export const CENSORED = '[redacted]';

/** L1, as paths for pino. */
export const REDACTED_PATHS: readonly string[] = SECRET_FIELDS.flatMap((name) =>
  Array.from({ length: DEPTH_MAX }, (_, depth) => '*.'.repeat(depth) + name),
);

/** Join tokens and operator tokens, credentials of a header, and anything in the form of a JWS. */
const CREDENTIALS =
  /\bhf[jo]1\.[\w.-]+|\b(?:Bearer|Basic|Holdfast-Host)\s+[\w.~+/=-]+|\beyJ[\w-]+\.[\w-]+\.[\w-]+/g;
/** Most lines have none of them, and are looked at once. */
const MAY_HAVE_CREDENTIALS = /hf[jo]1\.|Bearer|Basic|Holdfast-Host|eyJ/;

/** L2. */
export function censorCredentials(line: string): string {
  return MAY_HAVE_CREDENTIALS.test(line) ? line.replaceAll(CREDENTIALS, CENSORED) : line;
}
