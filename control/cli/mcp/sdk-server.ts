/** The gateway as an MCP server of the official SDK: one of it for each session. */
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import {
  CallToolRequestSchema,
  ErrorCode,
  ListToolsRequestSchema,
  McpError,
  type CallToolResult,
  type ListToolsResult,
  type Tool,
} from '@modelcontextprotocol/sdk/types.js';
import { VERSION } from '../../../shared/core/version.ts';
import type { Gateway } from './gateway.ts';
import { RESULT_TOOL, toldInvalid } from './told.ts';
import type { Progress } from './upstream-port.ts';

/** In `_meta` of a call: within which the same arguments are the same call. */
export const SCOPE_META = 'holdfast/scope';

const RESULT: Tool = {
  name: RESULT_TOOL,
  description:
    'What has come of a call that was answered as pending, in progress or unknown. Once its approval is ' +
    'given, the call is done, once, and its answer is returned here.',
  inputSchema: {
    type: 'object',
    properties: {
      operationId: { type: 'string', description: 'as the pending answer named it' },
    },
    required: ['operationId'],
    additionalProperties: false,
  },
  annotations: { title: 'Result of an earlier call', idempotentHint: true, openWorldHint: false },
};

const INSTRUCTIONS =
  'Tools are called through Holdfast. The same call (same tool, same arguments) is done once: repeating ' +
  `it returns what came of it. A pending call is asked for with ${RESULT_TOOL}. An unknown outcome is ` +
  'not a failure: do not do it again in another way.';

export type SessionParts = {
  readonly gateway: Gateway;
  /** Where a call does not say its scope. */
  readonly scope: string;
  /** Told apart from every other session. */
  readonly sessionKey: string;
};

export function buildServer({ gateway, scope: standing, sessionKey }: SessionParts): McpServer {
  const server = new McpServer(
    { name: 'holdfast', version: VERSION },
    { capabilities: { tools: { listChanged: true } }, instructions: INSTRUCTIONS },
  );
  server.server.setRequestHandler(ListToolsRequestSchema, async (): Promise<ListToolsResult> => {
    let listed: readonly object[];
    try {
      listed = await gateway.list();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new McpError(ErrorCode.InternalError, `the tools' server cannot be reached: ${why}`);
    }
    // How a tool may be run as a task is between its server and us: it is called plainly.
    const tools = listed.map((tool) => ({ ...tool, execution: undefined }) as unknown as Tool);
    return { tools: [...tools, RESULT] };
  });
  server.server.setRequestHandler(CallToolRequestSchema, async (request, extra) => {
    const { name: tool, arguments: args = {}, _meta } = request.params;
    const given = _meta?.[SCOPE_META];
    if (given !== undefined && typeof given !== 'string')
      return answered(toldInvalid(`_meta["${SCOPE_META}"] must be a text`));
    const scope = given ?? standing;
    if (tool === RESULT_TOOL) return answered(await resultOf(gateway, args, scope));
    const token = _meta?.progressToken;
    const onProgress =
      token === undefined
        ? null
        : (progress: Progress): void => {
            const params = { ...progress, progressToken: token };
            // Whoever is gone needs no progress.
            const sent = extra.sendNotification({
              method: 'notifications/progress',
              params: params as never,
            });
            sent.catch(() => undefined);
          };
    const callId = `${sessionKey}.${extra.requestId}`;
    return answered(await gateway.call({ tool, args, scope, callId, onProgress }));
  });
  return server;
}

async function resultOf(
  gateway: Gateway,
  args: Readonly<Record<string, unknown>>,
  scope: string,
): Promise<object> {
  const { operationId } = args;
  return typeof operationId === 'string' && /^[A-Za-z0-9_-]{1,100}$/.test(operationId)
    ? gateway.result(operationId, scope)
    : toldInvalid('operationId must be the id that the earlier answer named');
}

/** It came over the wire in this form, or was written in it. */
const answered = (answer: object): CallToolResult => answer as CallToolResult;

/** Where the clients come in. */
export type Front = {
  /** The client is gone, or the process is asked to stop. */
  readonly ended: Promise<void>;
  toolsChanged(): void;
  close(): Promise<void>;
};

export async function serveStdio(
  server: McpServer,
  { messageBytesMax, stop }: { readonly messageBytesMax: number; readonly stop: AbortSignal },
): Promise<Front> {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const options = { maxBufferSize: messageBytesMax };
  const transport = new StdioServerTransport(process.stdin, process.stdout, options);
  // The SDK has no other way to be told.
  // oxlint-disable-next-line unicorn/prefer-add-event-listener
  server.server.onclose = resolve;
  process.stdin.once('end', resolve).once('close', resolve);
  stop.addEventListener('abort', () => resolve(), { once: true });
  await server.connect(transport);
  return {
    ended,
    toolsChanged: () => server.sendToolListChanged(),
    close: () => server.close(),
  };
}
