/**
 * Which daemons a run of the command talks to, and as whom: flags over environment over the
 * `holdfast dev` of this directory over the standard addresses.
 *
 * A token goes only where it belongs: that of `holdfast dev` is used for its own two daemons and no
 * other.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseEndpoint } from '../../shared/client/json-caller.ts';
import type { Target } from '../../shared/client/transport.ts';
import { DEV_DIR_NAME, readDevState } from './dev/dev-state.ts';
import { CommandError, EXIT, usageError } from './failures.ts';
import type { Surroundings } from './surroundings.ts';

export type DaemonName = 'control' | 'sidecar';

export type ConnectionFlags = {
  readonly control?: string;
  readonly controlTokenFile?: string;
  readonly sidecar?: string;
  readonly sidecarTokenFile?: string;
};

export type Connection = {
  readonly endpoint: string;
  readonly target: Target;
  readonly token: string | null;
  readonly origin: 'flag' | 'environment' | 'dev' | 'default';
};

const STANDARD_URLS = {
  control: 'http://127.0.0.1:7480',
  sidecar: 'http://127.0.0.1:7490',
} as const;

export function connectionTo(
  daemon: DaemonName,
  flags: ConnectionFlags,
  { env, cwd }: Pick<Surroundings, 'env' | 'cwd'>,
): Connection {
  const dev = readDevState(join(cwd, DEV_DIR_NAME));
  const ofDev =
    dev === null
      ? null
      : daemon === 'control'
        ? { url: dev.controlUrl, tokenFile: dev.controlTokenFile }
        : { url: dev.sidecarUrl, tokenFile: dev.sidecarTokenFile };
  const flag = flags[daemon];
  const variable = env[`HOLDFAST_${daemon.toUpperCase()}_URL`];
  const endpoint = flag ?? variable ?? ofDev?.url ?? STANDARD_URLS[daemon];
  const origin =
    flag !== undefined
      ? 'flag'
      : variable !== undefined
        ? 'environment'
        : ofDev
          ? 'dev'
          : 'default';
  const target = parseEndpoint(endpoint);
  if (target === null) {
    throw usageError(
      `${endpoint} is not an address: use http://host:port, https://host:port or unix:/path`,
    );
  }
  const tokenFlag = daemon === 'control' ? flags.controlTokenFile : flags.sidecarTokenFile;
  const token = givenToken(daemon, tokenFlag, { env, cwd });
  if (token !== null) return { endpoint, target, token, origin };
  const isOfDev = ofDev !== null && endpoint === ofDev.url;
  return { endpoint, target, token: isOfDev ? readToken(ofDev.tokenFile) : null, origin };
}

function givenToken(
  daemon: DaemonName,
  flag: string | undefined,
  { env, cwd }: Pick<Surroundings, 'env' | 'cwd'>,
): string | null {
  if (flag !== undefined) return readToken(resolve(cwd, flag));
  const variable = `HOLDFAST_${daemon.toUpperCase()}_TOKEN`;
  const token = env[variable];
  const file = env[`${variable}_FILE`];
  if (token !== undefined && file !== undefined) {
    throw usageError(`${variable} and ${variable}_FILE are both set: unset one`);
  }
  if (token !== undefined) return token;
  return file === undefined ? null : readToken(resolve(cwd, file));
}

function readToken(path: string): string {
  let token: string;
  try {
    token = readFileSync(path, 'utf8').trim();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const detail = `cannot read the token file ${path}: ${code ?? message}`;
    throw new CommandError('token_unreadable', detail, { exitCode: EXIT.denied, cause: error });
  }
  if (token === '')
    throw new CommandError('token_unreadable', `the token file ${path} is empty`, {
      exitCode: EXIT.denied,
    });
  return token;
}
