/**
 * How another terminal reaches a running `holdfast dev`: a loopback address and a secret in the
 * data directory. Whoever can read that file could kill the daemons anyway.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { JsonCaller, parseEndpoint } from '../../../shared/client/json-caller.ts';
import { UnreachableError } from '../../../shared/client/index.ts';
import { UndiciTransport } from '../../../shared/client/transport.ts';
import { HoldfastError, PROBLEM_CONTENT_TYPE, toProblem } from '../../../shared/wire/problem.ts';
import type { DaemonName } from '../connections.ts';
import { CommandError, EXIT, failureOf } from '../failures.ts';
import { readDevState } from './dev-state.ts';

export type DevAction = 'kill' | 'start';
export type DevAnswer = {
  readonly daemon: DaemonName;
  readonly action: DevAction;
  readonly text: string;
};

/** Longer than a daemon may take to become ready. */
const ANSWER_TIMEOUT_MS = 45_000;
const PING_TIMEOUT_MS = 1_000;

const ACTION_PATH = /^\/(control|sidecar)\/(kill|start)$/;

export type Switchboard = { readonly url: string; close(): Promise<void> };

export async function openSwitchboard(options: {
  readonly token: string;
  readonly act: (daemon: DaemonName, action: DevAction) => Promise<string>;
}): Promise<Switchboard> {
  const server = createServer((request, response) => void answer(request, response, options));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host: '127.0.0.1', port: 0 }, resolve);
  await promise;
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => close(server) };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: Parameters<typeof openSwitchboard>[0],
): Promise<void> {
  const send = (status: number, body: unknown, type = 'application/json'): void => {
    response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
  };
  const refuse = (error: HoldfastError): void =>
    send(error.status, toProblem(error), PROBLEM_CONTENT_TYPE);
  if (request.headers.authorization !== `Bearer ${options.token}`) {
    return refuse(
      new HoldfastError('unauthenticated', 'the secret is not that of this supervisor'),
    );
  }
  if (request.url === '/') return send(200, {});
  const [, daemon, action] = ACTION_PATH.exec(request.url ?? '') ?? [];
  if (request.method !== 'POST' || daemon === undefined || action === undefined) {
    return refuse(
      new HoldfastError('not_found', `there is nothing at ${request.method} ${request.url}`),
    );
  }
  try {
    const text = await options.act(daemon as DaemonName, action as DevAction);
    send(200, { daemon, action, text });
  } catch (error) {
    refuse(
      new HoldfastError('internal', failureOf(error).detail, {
        errors: [...failureOf(error).errors],
      }),
    );
  }
}

async function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeAllConnections();
  await promise;
}

/** Has the `holdfast dev` of this directory do something to one of its daemons. */
export async function askSupervisor(
  dataDir: string,
  daemon: DaemonName,
  action: DevAction,
): Promise<DevAnswer> {
  const caller = callerFor(dataDir, ANSWER_TIMEOUT_MS);
  if (caller === null) throw notRunning(dataDir);
  try {
    return await caller.body<DevAnswer>({ method: 'POST', path: `/${daemon}/${action}` });
  } catch (error) {
    if (error instanceof UnreachableError && error.kind === 'refused') throw notRunning(dataDir);
    throw error;
  } finally {
    await caller.close();
  }
}

/**
 * Whether a supervisor answers for this directory; a state file that a crash left behind proves
 * nothing.
 */
export async function isSupervised(dataDir: string): Promise<boolean> {
  const caller = callerFor(dataDir, PING_TIMEOUT_MS);
  if (caller === null) return false;
  try {
    await caller.call({ method: 'GET', path: '/' });
    return true;
  } catch {
    // Nobody is there, or somebody else who was given the same port since.
    return false;
  } finally {
    await caller.close();
  }
}

function callerFor(dataDir: string, timeoutMs: number): JsonCaller | null {
  const supervisor = readDevState(dataDir)?.supervisor ?? null;
  const target = supervisor === null ? null : parseEndpoint(supervisor.url);
  if (supervisor === null || target === null) return null;
  const transport = new UndiciTransport(target);
  return new JsonCaller({ transport, token: () => supervisor.token, headers: {}, timeoutMs });
}

function notRunning(dataDir: string): CommandError {
  return new CommandError('not_running', `no holdfast dev is running on ${dataDir}`, {
    exitCode: EXIT.unavailable,
    hint: 'start it with `holdfast dev`, or name its directory with --data-dir',
  });
}
