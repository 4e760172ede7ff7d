/**
 * Cerbos and Cedar, to compare with: installed on demand into a cache of this machine, each in one exact
 * version, because a hundred megabytes must not burden each `npm ci` of the project. Neither
 * talks to any network here but the loopback.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import {
  cedarPolicies,
  cedarRequest,
  cerbosPolicies,
  cerbosRequest,
} from './equivalent-policies.ts';

type Say = (text: string) => void;

/** `null` where it cannot be had, which is said. */
export type Rivals = { readonly cedar: Cedar | null; readonly cerbosProgram: string | null };

export const NO_RIVALS: Rivals = { cedar: null, cerbosProgram: null };

const VERSIONS = { '@cedar-policy/cedar-wasm': '4.13.0', cerbos: '0.51.0' } as const;

export function openRivals(say: Say): Rivals {
  const directory = installed(say);
  if (directory === null) return NO_RIVALS;
  const requireThere = createRequire(join(directory, 'package.json'));
  const found = <T>(name: string, load: () => T): T | null => {
    try {
      return load();
    } catch (error) {
      say(`${name} is absent: ${String(error).split('\n')[0]}`);
      return null;
    }
  };
  const platform = `${process.platform}-${process.arch}`;
  return {
    cedar: found('Cedar', () => requireThere('@cedar-policy/cedar-wasm/nodejs') as Cedar),
    cerbosProgram: found('Cerbos', () => requireThere.resolve(`@cerbos/cerbos-${platform}`)),
  };
}

/** Where they are, or `null`. Other versions are another directory. */
function installed(say: Say): string | null {
  const wanted = Object.entries(VERSIONS).map(([name, version]) => `${name}@${version}`);
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const versions = Object.values(VERSIONS).join('-');
  const directory = join(cache, `holdfast-bench-rivals-${versions}`);
  const mark = join(directory, 'complete');
  if (existsSync(mark)) return directory;
  say(`installing ${wanted.join(' and ')} into ${directory}`);
  mkdirSync(directory, { recursive: true });
  // npm would look for a project further up.
  writeFileSync(join(directory, 'package.json'), '{ "private": true }');
  const words = ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund'];
  const { status } = spawnSync('npm', [...words, '--loglevel=error', ...wanted], {
    cwd: directory,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) {
    rmSync(directory, { recursive: true });
    say('Cerbos and Cedar are ABSENT: npm could not install them; the figures are without them');
    return null;
  }
  writeFileSync(mark, '');
  return directory;
}

type CedarAnswer = {
  readonly type: string;
  readonly response?: { readonly decision: string };
  readonly errors?: readonly unknown[];
};

type CedarCall = ReturnType<typeof cedarRequest> & {
  readonly preparsedPolicySetId: string;
  readonly validateRequest: boolean;
};

/** Of its module, what is used here. */
type Cedar = {
  preparsePolicySet(
    id: string,
    policies: { readonly staticPolicies: Readonly<Record<string, string>> },
  ): { readonly type: string };
  statefulIsAuthorized(call: CedarCall): CedarAnswer;
};

/** Policies are parsed once, before anything is timed; so are requests made. */
export function openCedar(cedar: Cedar, rules: number) {
  const preparsedPolicySetId = `rules-${rules}`;
  const { type } = cedar.preparsePolicySet(preparsedPolicySetId, {
    staticPolicies: cedarPolicies(rules),
  });
  if (type !== 'success') throw new Error(`Cedar does not parse ${rules} policies`);
  return {
    prepare: (input: DecisionInput): CedarCall => ({
      ...cedarRequest(input),
      preparsedPolicySetId,
      validateRequest: false,
    }),
    permits(call: CedarCall): boolean {
      const answer = cedar.statefulIsAuthorized(call);
      if (answer.response === undefined) throw new Error(JSON.stringify(answer.errors));
      return answer.response.decision === 'allow';
    },
  };
}

export type CerbosServer = {
  readonly port: number;
  readonly pid: number;
  permits(input: DecisionInput): Promise<boolean>;
  /** The bytes of one request. */
  request(input: DecisionInput): Buffer;
  stop(): Promise<void>;
};

const CERBOS_PATH = '/api/check/resources';

export async function startCerbos(
  program: string,
  options: { readonly rules: number; readonly directory: string; readonly say: Say },
): Promise<CerbosServer> {
  const { rules, directory } = options;
  const policies = join(directory, 'policies');
  mkdirSync(policies);
  for (const [name, text] of cerbosPolicies(rules)) writeFileSync(join(policies, name), text);
  const port = await freePort();
  const configuration = join(directory, 'cerbos.json');
  writeFileSync(
    configuration,
    JSON.stringify({
      server: {
        httpListenAddr: `127.0.0.1:${port}`,
        grpcListenAddr: `unix:${join(directory, 'grpc.sock')}`,
        logRequestPayloads: false,
      },
      storage: { driver: 'disk', disk: { directory: policies, watchForChanges: false } },
      telemetry: { disabled: true },
      audit: { enabled: false },
    }),
  );
  const child = spawn(program, ['server', '--config', configuration, '--log-level', 'error'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, CERBOS_NO_TELEMETRY: '1', DO_NOT_TRACK: '1' },
  });
  await untilServing(child, port);
  return {
    port,
    pid: child.pid ?? 0,
    async permits(input) {
      const response = await fetch(`http://127.0.0.1:${port}${CERBOS_PATH}`, {
        method: 'POST',
        body: JSON.stringify(cerbosRequest(input)),
      });
      const { results } = (await response.json()) as {
        results: { actions: Record<string, string> }[];
      };
      return results[0]?.actions[input.action] === 'EFFECT_ALLOW';
    },
    request(input) {
      const body = JSON.stringify(cerbosRequest(input));
      return Buffer.from(
        `POST ${CERBOS_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
    },
    async stop() {
      if (child.exitCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

const START_ATTEMPTS = 600;
const START_PAUSE_MS = 100;

async function untilServing(child: ChildProcess, port: number): Promise<void> {
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt += 1) {
    if (child.exitCode !== null) throw new Error(`Cerbos ended with ${child.exitCode}`);
    const isServing = await fetch(`http://127.0.0.1:${port}/_cerbos/health`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isServing) return;
    await new Promise((resolve) => setTimeout(resolve, START_PAUSE_MS));
  }
  child.kill('SIGKILL');
  throw new Error('Cerbos does not serve');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
