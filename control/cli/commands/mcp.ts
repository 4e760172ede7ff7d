/** The MCP gateway: tools of an MCP server, each call of which is an operation. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { durationFlag, type CommandContext } from '../command-context.ts';

type McpFlags = {
  readonly principal: string;
  readonly server?: string;
  readonly upstreamUrl?: string;
  readonly upstreamTokenFile?: string;
  readonly passEnv: readonly string[];
  readonly map?: string;
  readonly scope?: string;
  readonly approvalWait: string;
  readonly callTimeout: string;
  readonly patience: string;
  readonly messageBytesMax: number;
};

const AFTER_HELP = `
Each call of a tool is admitted by the sidecar as action mcp.<server>.<tool> of the principal, with the
arguments as attributes, and made inside the effect "call", which the rule must declare. The same call (tool
and arguments) within a scope is made once; after that its answer comes from the record. What waits for an
approval is told as pending, and asked for with the tool holdfast_result.

The scope of a call: its _meta["holdfast/scope"], or --scope, or the session.

The map (--map) says otherwise for single tools:
  tools:
    write_file: { action: files.write, resource: '{path}', attributes: [path] }
    read_*: { each: call }        # every call is one of its own

Examples:
  holdfast mcp --principal agent:files --server files -- npx @modelcontextprotocol/server-filesystem /srv
  holdfast mcp --principal agent:desk --upstream-url http://127.0.0.1:3001/mcp --scope conversation-7`;

export function addMcpCommand(program: Command, context: CommandContext): void {
  const option = (flags: string, description: string, variable: string): Option =>
    new Option(flags, description).env(variable);
  program
    .command('mcp [command...]')
    .description('front an MCP server: each call of a tool is an operation')
    .addOption(
      option(
        '--principal <kind:name>',
        'on whose behalf the tools are called',
        'HOLDFAST_MCP_PRINCIPAL',
      ).makeOptionMandatory(),
    )
    .addOption(option('--server <name>', 'name in actions and keys', 'HOLDFAST_MCP_SERVER'))
    .addOption(
      option(
        '--upstream-url <url>',
        'the server, over streamable HTTP',
        'HOLDFAST_MCP_UPSTREAM_URL',
      ),
    )
    .addOption(
      option(
        '--upstream-token-file <file>',
        'bearer token for --upstream-url',
        'HOLDFAST_MCP_UPSTREAM_TOKEN_FILE',
      ),
    )
    .option(
      '--pass-env <name>',
      "a variable for the server's command; can be repeated",
      (name: string, names: readonly string[]) => [...names, name],
      [],
    )
    .addOption(option('--map <file>', 'action, resource and effect of tools', 'HOLDFAST_MCP_MAP'))
    .addOption(
      option(
        '--scope <name>',
        'within which the same call is the same operation: a conversation, a ticket',
        'HOLDFAST_MCP_SCOPE',
      ),
    )
    .addOption(
      option(
        '--approval-wait <duration>',
        'wait for an approval before a call is told as pending, at most 50s',
        'HOLDFAST_MCP_APPROVAL_WAIT',
      ).default('0s'),
    )
    .addOption(
      option(
        '--call-timeout <duration>',
        'after which a call without answer or progress is unknown',
        'HOLDFAST_MCP_CALL_TIMEOUT',
      ).default('60s'),
    )
    .addOption(
      option(
        '--patience <duration>',
        'how long to go on asking a sidecar that does not answer',
        'HOLDFAST_MCP_PATIENCE',
      ).default('10s'),
    )
    .addOption(
      option(
        '--message-bytes-max <bytes>',
        'of one message of the client',
        'HOLDFAST_MCP_MESSAGE_BYTES_MAX',
      )
        .argParser(parseBytes)
        .default(4 * 1024 * 1024),
    )
    .addHelpText('after', AFTER_HELP)
    .action(async (command: string[], flags: McpFlags) => {
      const { runMcp } = await import('../mcp/run-mcp.ts');
      await runMcp({
        options: { ...readFlags(flags), command },
        sidecar: context.sidecar,
        clock: context.clock,
        surroundings: context.surroundings,
      });
    });
}

function readFlags(flags: McpFlags) {
  const { server = null, upstreamUrl = null, upstreamTokenFile = null, scope = null } = flags;
  const { principal, passEnv, messageBytesMax, map: mapFile = null } = flags;
  return {
    principal,
    server,
    upstreamUrl,
    upstreamTokenFile,
    passEnv,
    mapFile,
    scope,
    messageBytesMax,
    approvalWaitMs: Math.min(50_000, durationFlag('--approval-wait', flags.approvalWait)),
    callTimeoutMs: durationFlag('--call-timeout', flags.callTimeout),
    patienceMs: durationFlag('--patience', flags.patience),
  };
}

function parseBytes(text: string): number {
  const bytes = Number(text);
  if (!/^[0-9]{1,9}$/.test(text) || bytes < 1_024)
    throw new InvalidArgumentError('It must be a number of bytes, at least 1024.');
  return bytes;
}
