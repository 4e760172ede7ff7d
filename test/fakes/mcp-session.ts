/** Clients of the SDK of `holdfast mcp` in front of a real server, over stdio and over HTTP. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Supervisor } from '../../control/cli/dev/supervisor.ts';
import type { ToldOutcome } from '../../control/cli/mcp/told.ts';
import { REPOSITORY_ROOT } from '../tidy/source-tree.ts';

export type Told = {
  readonly text: string;
  readonly isError: boolean;
  readonly outcome: ToldOutcome;
};

export class McpSession {
  readonly client: Client;
  /** Of the gateway, where the client has started it. */
  readonly pid: number | null;

  private constructor(client: Client, pid: number | null) {
    this.client = client;
    this.pid = pid;
  }

  static async open(
    supervisor: Supervisor,
    { flags = [], command }: { flags?: readonly string[]; command: readonly string[] },
  ): Promise<McpSession> {
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [...gatewayArguments(supervisor), ...flags, '--', ...command],
      stderr: 'ignore',
    });
    const client = new Client({ name: 'test', version: '1.0.0' });
    await client.connect(transport);
    return new McpSession(client, transport.pid);
  }

  static async over(url: string, token: string): Promise<McpSession> {
    const requestInit = { headers: { authorization: `Bearer ${token}` } };
    const client = new Client({ name: 'test', version: '1.0.0' });
    await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
    return new McpSession(client, null);
  }

  async call(
    name: string,
    args: Record<string, unknown>,
    options: { scope?: string; onProgress?: () => void } = {},
  ): Promise<Told> {
    const { scope, onProgress } = options;
    const _meta = scope === undefined ? {} : { _meta: { 'holdfast/scope': scope } };
    const answer = await this.client.callTool(
      { name, arguments: args, ..._meta },
      undefined,
      onProgress === undefined ? {} : { onprogress: onProgress },
    );
    return readTold(answer);
  }

  /** Of the server that it has started. */
  upstreamPid(): number {
    return Number(readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim());
  }

  /** Over HTTP: tells the gateway, and returns what the session was called. */
  async endSession(): Promise<string> {
    const transport = this.client.transport as StreamableHTTPClientTransport;
    const id = transport.sessionId!;
    await transport.terminateSession();
    return id;
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

/** `holdfast mcp --listen`, or a server of others over HTTP: a process that says when it is ready. */
export class Served {
  readonly child: ChildProcess;
  readonly url: string;
  #ended: Promise<number | null> | null = null;

  private constructor(child: ChildProcess, url: string) {
    this.child = child;
    this.url = url;
  }

  static async gateway(supervisor: Supervisor, flags: readonly string[]): Promise<Served> {
    const args = [...gatewayArguments(supervisor), '--listen', '127.0.0.1:0', ...flags];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'pipe'] });
    return new Served(child, await lineOf(child, /serving (\S+)/));
  }

  static async everything(script: string, port: number): Promise<Served> {
    const env = { ...process.env, PORT: String(port) };
    const stdio = ['ignore', 'ignore', 'pipe'] as const;
    const child = spawn(process.execPath, [script, 'streamableHttp'], { env, stdio: [...stdio] });
    await lineOf(child, /listening on port (\d+)/);
    return new Served(child, `http://127.0.0.1:${port}/mcp`);
  }

  /** Its exit code, `null` where a signal has ended it; the first who asks says by which. */
  end(signal: NodeJS.Signals): Promise<number | null> {
    this.#ended ??= once(this.child, 'exit').then(([code]) => code as number | null);
    if (!this.child.killed) this.child.kill(signal);
    return this.#ended;
  }
}

function lineOf({ stderr }: ChildProcess, pattern: RegExp): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const said: string[] = [];
  createInterface({ input: stderr! })
    .on('line', (line) => {
      said.push(line);
      const found = pattern.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    })
    .once('close', () => reject(new Error(`it ended: ${said.join('\n')}`)));
  return promise;
}

function gatewayArguments(supervisor: Supervisor): string[] {
  return [
    `${REPOSITORY_ROOT}/control/cli/main.ts`,
    `--sidecar=${supervisor.url('sidecar')}`,
    `--sidecar-token-file=${supervisor.files.appTokenFile}`,
    'mcp',
    '--principal=agent:desk',
    '--patience=500ms',
  ];
}

export function readTold(answer: Awaited<ReturnType<Client['callTool']>>): Told {
  const content = answer.content as { text?: string }[];
  return {
    text: content.map(({ text = '' }) => text).join('\n'),
    isError: answer.isError === true,
    outcome: answer._meta?.['holdfast/outcome'] as ToldOutcome,
  };
}
