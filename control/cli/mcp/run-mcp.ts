/** `holdfast mcp`: the gateway in its process, until its client goes or it is asked to stop. */
import { readFileSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import type { Clock } from '../../../shared/platform/clock.ts';
import { sha256Hex } from '../../../shared/platform/digest.ts';
import { parseListen } from '../../../shared/platform/http/server.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';
import type { SidecarClient } from '../../../shared/client/index.ts';
import { CommandError, EXIT, usageError } from '../failures.ts';
import { readInput } from '../read-input.ts';
import type { Surroundings } from '../surroundings.ts';
import type { ServeParts } from './sdk-gateway.ts';
import type { UpstreamTarget } from './sdk-upstream.ts';
import { ToolMapError, parseToolMap, type ToolMap } from './tool-map.ts';

export type McpOptions = {
  readonly principal: string;
  readonly server: string | null;
  readonly upstreamUrl: string | null;
  readonly upstreamTokenFile: string | null;
  readonly passEnv: readonly string[];
  readonly command: readonly string[];
  readonly mapFile: string | null;
  readonly scope: string | null;
  readonly approvalWaitMs: number;
  readonly callTimeoutMs: number;
  readonly patienceMs: number;
  readonly messageBytesMax: number;
  /** `host:port`; `null`: stdio. */
  readonly listen: string | null;
  readonly clientTokenFile: string | null;
  /** Separated by commas. */
  readonly allowedHosts: string | null;
};

export type McpParts = {
  readonly options: McpOptions;
  readonly sidecar: SidecarClient;
  readonly clock: Clock;
  readonly surroundings: Surroundings;
};

const SERVER_NAME = /^[a-z][a-zA-Z0-9_-]{0,63}$/;

export async function runMcp({ options, sidecar, clock, surroundings }: McpParts): Promise<void> {
  const { stderr, cwd, env } = surroundings;
  const say = (text: string): void => void stderr.write(`holdfast mcp: ${text}\n`);
  const target = targetOf(options, cwd, env);
  const server = options.server ?? nameOf(target);
  if (!SERVER_NAME.test(server))
    throw usageError(
      options.server === null
        ? `name the server with --server, as files: ${server} is no name for actions`
        : `--server ${server} is no name for actions: use small letters, as files`,
    );
  const map = readMap(options.mapFile, cwd);
  const http = httpOf(options, cwd, say);
  const serveGateway = await loadSdk();
  if (options.scope === null)
    say(
      'no --scope: the same call is the same operation until its session ends, and another one after that',
    );
  const asked = stopRequested();
  try {
    await serveGateway({
      options,
      target,
      gateway: {
        sidecar,
        holdfast: sidecar.holdfast({ patience: { patienceMs: options.patienceMs } }),
        clock,
        server,
        principal: options.principal,
        map,
        approvalWaitMs: options.approvalWaitMs,
      },
      http,
      onListening: (url) => say(`serving ${url}`),
      onFault: (error) => say(`a request was not answered: ${String(error)}`),
      random: new SystemRandom(),
      stop: asked.signal,
    });
  } finally {
    asked.forget();
  }
}

/** It is not small, so it is not with every installation. */
async function loadSdk() {
  try {
    const { serveGateway } = await import('./sdk-gateway.ts');
    return serveGateway;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new CommandError('mcp_sdk_missing', 'the MCP SDK is not installed here', {
      hint: 'install the optional dependencies: npm ci --include=optional',
      cause: error,
    });
  }
}

function targetOf(
  { command, upstreamUrl, upstreamTokenFile, passEnv }: McpOptions,
  cwd: string,
  env: Surroundings['env'],
): UpstreamTarget {
  const [program, ...args] = command;
  if ((program === undefined) === (upstreamUrl === null))
    throw usageError(
      'name one server: its command after --, as `-- npx some-server DIR`, or --upstream-url URL',
    );
  if (program !== undefined)
    return { kind: 'command', command: program, args, cwd, env: passed(passEnv, env) };
  const url = upstreamUrl ?? '';
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw usageError(`--upstream-url ${url} is not an http or https address`);
  return {
    kind: 'url',
    url,
    token: upstreamTokenFile === null ? null : readToken(cwd, upstreamTokenFile),
  };
}

const TOKEN_LENGTH_MIN = 16;
const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** `null` where the only client is the one that has started it. */
function httpOf(
  { listen, clientTokenFile, allowedHosts }: McpOptions,
  cwd: string,
  say: (text: string) => void,
): ServeParts['http'] {
  if (listen === null) {
    if (clientTokenFile === null && allowedHosts === null) return null;
    throw usageError(
      '--client-token-file and --allowed-hosts are for --listen, which is not given',
    );
  }
  const address = parseListen(listen);
  if (address === null) throw usageError(`--listen ${listen} is not host:port, as 127.0.0.1:7500`);
  const hosts = allowedHosts === null ? [] : allowedHosts.split(',').map((name) => name.trim());
  if (hosts.includes(''))
    throw usageError(`--allowed-hosts ${allowedHosts} has an empty name: separate them by commas`);
  if (!LOOPBACK.test(address.host)) {
    if (hosts.length === 0)
      throw usageError(
        `--listen ${listen} is not a loopback address: use 127.0.0.1 or [::1], or name the hosts it is reached by with --allowed-hosts`,
      );
    say(`${listen} is no loopback address: tokens and arguments cross the network unencrypted`);
  }
  if (clientTokenFile === null)
    throw usageError(
      '--listen needs --client-token-file: write a random text of 16 characters or more there, and give it to the clients',
    );
  const token = readToken(cwd, clientTokenFile);
  if (token.length < TOKEN_LENGTH_MIN)
    throw usageError(
      `the token in ${clientTokenFile} has ${token.length} characters, and needs ${TOKEN_LENGTH_MIN} or more`,
    );
  if ((statSync(resolve(cwd, clientTokenFile)).mode & 0o004) !== 0)
    throw usageError(`${clientTokenFile} can be read by every user: chmod 0640 it`);
  // By digest, so that time tells nothing of it.
  const digest = sha256Hex(token);
  return { listen: address, allowedHosts: hosts, isToken: (text) => sha256Hex(text) === digest };
}

/** The server gets what the SDK hands on (PATH, HOME and their like), and what is named: no token of ours. */
function passed(names: readonly string[], env: Surroundings['env']): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      const value = env[name];
      if (value === undefined) throw usageError(`--pass-env ${name}: it is not set`);
      return [name, value];
    }),
  );
}

function nameOf(target: UpstreamTarget): string {
  if (target.kind === 'url') return new URL(target.url).hostname.replaceAll('.', '-');
  const script = target.args.find((word) => !word.startsWith('-')) ?? target.command;
  return basename(script)
    .replace(/\.\w+$/, '')
    .toLowerCase();
}

function readMap(file: string | null, cwd: string): ToolMap {
  if (file === null) return [];
  try {
    return parseToolMap(readInput(cwd, file).toString('utf8'));
  } catch (error) {
    if (!(error instanceof ToolMapError)) throw error;
    throw new CommandError('map_invalid', `${file}: ${error.message}`, { exitCode: EXIT.usage });
  }
}

function readToken(cwd: string, file: string): string {
  let token: string;
  try {
    token = readFileSync(resolve(cwd, file), 'utf8').trim();
  } catch (error) {
    throw new CommandError('token_unreadable', `cannot read the token file ${file}`, {
      exitCode: EXIT.denied,
      cause: error,
    });
  }
  if (token === '')
    throw new CommandError('token_unreadable', `the token file ${file} is empty`, {
      exitCode: EXIT.denied,
    });
  return token;
}

function stopRequested(): { readonly signal: AbortSignal; forget(): void } {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.once('SIGTERM', onSignal).once('SIGINT', onSignal);
  return {
    signal: stop.signal,
    forget: () => process.off('SIGTERM', onSignal).off('SIGINT', onSignal),
  };
}
