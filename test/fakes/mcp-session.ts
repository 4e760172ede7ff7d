/** A client of the SDK that has started `holdfast mcp` in front of a real server, over stdio. */
import { readFileSync } from 'node:fs';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
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
  readonly pid: number;

  private constructor(client: Client, pid: number) {
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
    return new McpSession(client, transport.pid!);
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

  close(): Promise<void> {
    return this.client.close();
  }
}

export function gatewayArguments(supervisor: Supervisor): string[] {
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
