/** The upstream as the official SDK reaches it: a command over stdio, or a URL over streamable HTTP. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import {
  StreamableHTTPClientTransport,
  StreamableHTTPError,
} from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { CallToolResultSchema, ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { VERSION } from '../../../shared/core/version.ts';
import type { ToolAnswer } from './tool-answer.ts';
import {
  NotDoneError,
  type Upstream,
  type UpstreamCall,
  type UpstreamTool,
} from './upstream-port.ts';

const REACH_TIMEOUT_MS = 10_000;
const TOOLS_MAX = 1_000;
/** Of JSON-RPC: the request was not understood, so nothing was begun. */
const NOT_BEGUN: readonly number[] = [
  ErrorCode.ParseError,
  ErrorCode.InvalidRequest,
  ErrorCode.MethodNotFound,
  ErrorCode.InvalidParams,
];
const METHOD_NOT_FOUND: number = ErrorCode.MethodNotFound;
/** Of HTTP: the server has not taken the request. */
const NOT_TAKEN: readonly number[] = [400, 401, 403, 404, 405, 406, 413, 415, 429];

export type UpstreamTarget =
  | {
      readonly kind: 'command';
      readonly command: string;
      readonly args: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly cwd: string;
    }
  | { readonly kind: 'url'; readonly url: string; readonly token: string | null };

export type SdkUpstreamOptions = {
  readonly target: UpstreamTarget;
  /** Of one call; progress begins it anew. */
  readonly callTimeoutMs: number;
  readonly onToolsChanged: () => void;
};

export class SdkUpstream implements Upstream {
  readonly #options: SdkUpstreamOptions;
  #client: Client | null = null;
  #connecting: Promise<Client> | null = null;
  #looking = false;

  constructor(options: SdkUpstreamOptions) {
    this.#options = options;
  }

  async reach(): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }> {
    try {
      const known = this.#client;
      const client = known ?? (await this.#connect());
      // A session over HTTP can be gone without a word.
      if (known !== null && this.#options.target.kind === 'url' && !(await isThere(client))) {
        await this.#forget(client);
        await this.#connect();
      }
      return { ok: true };
    } catch (error) {
      return { ok: false, detail: textOf(error) };
    }
  }

  async tools(): Promise<readonly UpstreamTool[]> {
    const reached = await this.reach();
    if (!reached.ok) throw new Error(reached.detail);
    const client = await this.#connect();
    const tools: UpstreamTool[] = [];
    let cursor: string | undefined;
    do {
      const page = await client.listTools(cursor === undefined ? {} : { cursor });
      tools.push(...page.tools);
      cursor = page.nextCursor;
    } while (cursor !== undefined && tools.length < TOOLS_MAX);
    return tools;
  }

  async call({
    tool,
    args,
    idempotencyKey,
    fencingToken,
    signal,
    onProgress,
  }: UpstreamCall): Promise<ToolAnswer> {
    const client = this.#client;
    if (client === null)
      throw new NotDoneError('the connection to the server was lost before the call');
    const request = {
      method: 'tools/call',
      params: {
        name: tool,
        arguments: args,
        _meta: {
          'holdfast/idempotencyKey': idempotencyKey,
          ...(fencingToken === null ? {} : { 'holdfast/fencingToken': fencingToken }),
        },
      },
    } as const;
    try {
      return await client.request(request, CallToolResultSchema, {
        signal,
        timeout: this.#options.callTimeoutMs,
        resetTimeoutOnProgress: true,
        onprogress: (progress) => onProgress?.(progress),
      });
    } catch (error) {
      throw isCertainlyNotDone(error) ? new NotDoneError(textOf(error), { cause: error }) : error;
    }
  }

  async close(): Promise<void> {
    const client = this.#client ?? (await this.#connecting?.catch(() => null)) ?? null;
    if (client === null) return;
    const { transport } = client;
    // It need not keep the session for nobody.
    if (transport instanceof StreamableHTTPClientTransport)
      await transport.terminateSession().catch(() => undefined);
    await this.#forget(client);
  }

  /** One at a time, whoever asks. */
  #connect(): Promise<Client> {
    if (this.#client !== null) return Promise.resolve(this.#client);
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #open(): Promise<Client> {
    const { onToolsChanged } = this.#options;
    const client = new Client(
      { name: 'holdfast', version: VERSION },
      { listChanged: { tools: { autoRefresh: false, onChanged: () => onToolsChanged() } } },
    );
    // The SDK has no other way to be told.
    // oxlint-disable-next-line unicorn/prefer-add-event-listener
    client.onclose = () => {
      if (this.#client === client) this.#client = null;
    };
    // oxlint-disable-next-line unicorn/prefer-add-event-listener
    client.onerror = () => void this.#look(client);
    await client.connect(this.#transport(), { timeout: REACH_TIMEOUT_MS });
    this.#client = client;
    return client;
  }

  #transport(): Transport {
    const { target } = this.#options;
    if (target.kind === 'command') {
      const { command, args, env, cwd } = target;
      return new StdioClientTransport({ command, args: [...args], env, cwd, stderr: 'inherit' });
    }
    const headers = target.token === null ? {} : { authorization: `Bearer ${target.token}` };
    return new StreamableHTTPClientTransport(new URL(target.url), {
      requestInit: { headers },
    });
  }

  /**
   * A stream that breaks over HTTP leaves its call waiting for its time-out: where the server, or the
   * session at it, is gone, no answer will come, and the call is unknown now.
   */
  async #look(client: Client): Promise<void> {
    if (this.#options.target.kind !== 'url' || this.#looking || this.#client !== client) return;
    this.#looking = true;
    const isGone = !(await isThere(client));
    this.#looking = false;
    if (isGone) await this.#forget(client);
  }

  async #forget(client: Client): Promise<void> {
    if (this.#client === client) this.#client = null;
    await client.close().catch(() => undefined);
  }
}

async function isThere(client: Client): Promise<boolean> {
  return client.ping({ timeout: REACH_TIMEOUT_MS }).then(
    () => true,
    // A server that does not know the question is there all the same.
    (error: unknown) => error instanceof McpError && error.code === METHOD_NOT_FOUND,
  );
}

function isCertainlyNotDone(error: unknown): boolean {
  if (error instanceof McpError) return NOT_BEGUN.includes(error.code);
  if (error instanceof StreamableHTTPError) return NOT_TAKEN.includes(error.code ?? 0);
  const { cause } = error as { cause?: { code?: unknown } };
  return error instanceof TypeError && cause?.code === 'ECONNREFUSED';
}

const textOf = (error: unknown): string => {
  const { message, cause } = error as { message?: string; cause?: { message?: string } };
  const why = cause?.message === undefined ? '' : `: ${cause.message}`;
  return `${message ?? String(error)}${why}`;
};
