/** `holdfast mcp`: the gateway in its process, until its client goes or it is asked to stop. */
import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import type { Clock } from '../../../shared/platform/clock.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';
import type { SidecarClient } from '../../../shared/client/index.ts';
import { CommandError, EXIT, usageError } from '../failures.ts';
import { readInput } from '../read-input.ts';
import type { Surroundings } from '../surroundings.ts';
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
    throw usageError(`--server ${server} is no name for actions: use small letters, as files`);
  const map = readMap(options.mapFile, cwd);
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

export function readToken(cwd: string, file: string): string {
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
