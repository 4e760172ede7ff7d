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
  readonly listen?: string;
  readonly clientTokenFile?: string;
  readonly allowedHosts?: string;
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
  holdfast mcp --principal agent:desk --server crm --upstream-url http://127.0.0.1:3001/mcp \\
               --scope conversation-7
  holdfast mcp --principal agent:desk --server crm --upstream-url http://127.0.0.1:3001/mcp \\
               --listen 127.0.0.1:7500 --client-token-file mcp.token`;

/** Each with its variable, `HOLDFAST_MCP_` and the name of the flag. */
const OPTIONS: readonly (readonly [flags: string, description: string, standing?: string])[] = [
  ['--server <name>', 'name in actions and keys'],
  ['--upstream-url <url>', 'the server, over streamable HTTP'],
  ['--upstream-token-file <file>', 'bearer token for --upstream-url'],
  ['--map <file>', 'action, resource and effect of tools'],
  ['--scope <name>', 'within which the same call is the same operation: a conversation, a ticket'],
  [
    '--approval-wait <duration>',
    'wait for an approval before a call is told as pending, at most 50s',
    '0s',
  ],
  ['--call-timeout <duration>', 'after which a call without answer or progress is unknown', '60s'],
  ['--patience <duration>', 'how long to go on asking a sidecar that does not answer', '10s'],
  ['--listen <host:port>', 'serve over streamable HTTP instead of stdio, at /mcp'],
  ['--client-token-file <file>', 'bearer token that the clients of --listen must send'],
  [
    '--allowed-hosts <names>',
    'host names that --listen answers to besides the loopback ones, by commas',
  ],
];

export function addMcpCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('mcp [command...]')
    .description('front an MCP server: each call of a tool is an operation')
    .addOption(
      option(
        '--principal <kind:name>',
        'on whose behalf the tools are called',
      ).makeOptionMandatory(),
    )
    .addOption(
      option('--message-bytes-max <bytes>', 'of one message of the client')
        .argParser(parseBytes)
        .default(4 * 1024 * 1024),
    )
    .option(
      '--pass-env <name>',
      "a variable for the server's command; can be repeated",
      (name: string, names: readonly string[]) => [...names, name],
      [],
    );
  for (const [flags, description, standing] of OPTIONS)
    command.addOption(option(flags, description).default(standing));
  command
    .addHelpText('after', AFTER_HELP)
    .action(async (upstream: readonly string[], flags: McpFlags) => {
      const { runMcp } = await import('../mcp/run-mcp.ts');
      await runMcp({
        options: { ...readFlags(flags), command: upstream },
        sidecar: context.sidecar,
        clock: context.clock,
        surroundings: context.surroundings,
      });
    });
}

function option(flags: string, description: string): Option {
  const name = flags.slice(2).split(' ', 1)[0] ?? '';
  const variable = `HOLDFAST_MCP_${name.toUpperCase().replaceAll('-', '_')}`;
  return new Option(flags, description).env(variable);
}

function readFlags(flags: McpFlags) {
  const { server = null, upstreamUrl = null, upstreamTokenFile = null, scope = null } = flags;
  const { principal, passEnv, messageBytesMax, map: mapFile = null } = flags;
  const { listen = null, clientTokenFile = null, allowedHosts = null } = flags;
  return {
    principal,
    server,
    upstreamUrl,
    upstreamTokenFile,
    passEnv,
    mapFile,
    scope,
    messageBytesMax,
    listen,
    clientTokenFile,
    allowedHosts,
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
