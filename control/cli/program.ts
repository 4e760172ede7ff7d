/**
 * The tree of commands and the life of one run: parse, do, print, and end with an exit code. Every
 * failure of every command arrives here; nothing below prints one.
 */
import { Command, CommanderError, Option } from 'commander';
import { nearestWord } from '../../shared/core/nearest-word.ts';
import { VERSION } from '../../shared/core/version.ts';
import { CommandContext, type GlobalFlags } from './command-context.ts';
import { addNoticeCommands } from './commands/notice.ts';
import { addApprovalCommands } from './commands/approval.ts';
import { addAuditCommands } from './commands/audit.ts';
import { addCompletionCommands } from './commands/completion.ts';
import { addConfigCommands } from './commands/config.ts';
import { addDevCommand } from './commands/dev.ts';
import { addDivergenceCommands } from './commands/divergence.ts';
import { addFleetCommand } from './commands/fleet.ts';
import { addHealthCommands } from './commands/health.ts';
import { addHostCommands } from './commands/host.ts';
import { addJournalCommand } from './commands/journal.ts';
import { addLeaseCommands } from './commands/lease.ts';
import { addLimitsCommand } from './commands/limits.ts';
import { addMcpCommand } from './commands/mcp.ts';
import { addOperationCommands } from './commands/operation.ts';
import { addOperatorCommands } from './commands/operator.ts';
import { addOutageCommands } from './commands/outage.ts';
import { addRecoveryCommand } from './commands/recovery.ts';
import { addPlacementCommands } from './commands/placement.ts';
import { addPolicyCommands } from './commands/policy.ts';
import { addReconcileCommands } from './commands/reconcile.ts';
import { addRefusalCommands } from './commands/refusal.ts';
import { addRegisterCommands } from './commands/register.ts';
import { addResumeCommands } from './commands/resume.ts';
import { addStatusCommand } from './commands/status.ts';
import { addWebhookCommands } from './commands/webhook.ts';
import { addVersionCommand } from './commands/version.ts';
import { EXIT, ProgramEnded, failureOf, type ExitCode } from './failures.ts';
import { Output, OUTPUT_FORMATS, type OutputFormat } from './output.ts';
import type { Surroundings } from './surroundings.ts';

const AFTER_HELP = `
Environment:
  HOLDFAST_CONTROL_URL  HOLDFAST_CONTROL_TOKEN  HOLDFAST_CONTROL_TOKEN_FILE
  HOLDFAST_SIDECAR_URL  HOLDFAST_SIDECAR_TOKEN  HOLDFAST_SIDECAR_TOKEN_FILE
  Where nothing is set, the \`holdfast dev\` of this directory is used, if there is one.

Exit codes:
  0 done   1 failed   2 wrong usage   3 not found   4 not allowed   5 conflict   6 no answer, or not now

Examples:
  holdfast dev                          start control and a sidecar here, to try it out
  holdfast status                       what runs, what does not, since when
  holdfast reconcile list               what nobody knows yet, and what is tried
  holdfast policy apply policy.yaml     publish a policy`;

/** Resolves with the exit code; never rejects. */
export async function runCommand(surroundings: Surroundings): Promise<ExitCode> {
  const program = new Command('holdfast');
  const context = new CommandContext(surroundings, () => program.opts<GlobalFlags>());
  buildProgram(program, context);
  try {
    checkCommandNames(program, surroundings.argv);
    await program.parseAsync([...surroundings.argv], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    // Help and the version were printed by Commander; only help that nobody asked for is a failure.
    if (error instanceof ProgramEnded) return error.exitCode;
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage;
    const failure = failureOf(error);
    failureOutput(program, surroundings).failure(failure);
    return failure.exitCode;
  } finally {
    await context.close();
  }
}

/** Commander answers `--help` before it looks at the words before it, so a wrong one would pass. */
function checkCommandNames(program: Command, argv: readonly string[]): void {
  if (!argv.includes('--help') && !argv.includes('-h')) return;
  let group = program;
  for (let at = 0; at < argv.length && group.commands.length > 0; at += 1) {
    const word = argv[at] ?? '';
    if (word.startsWith('-')) {
      const options = [...group.options, ...program.options];
      const named = options.find(({ long, short }) => long === word || short === word);
      if (named?.required === true) at += 1;
      continue;
    }
    const names = group.commands.flatMap((command) => [command.name(), ...command.aliases()]);
    if (word === 'help') return;
    const found = group.commands.find(
      (command) => command.name() === word || command.aliases().includes(word),
    );
    if (found === undefined) {
      const nearest = nearestWord(word, names);
      const meant = nearest === null ? '' : ` (Did you mean ${nearest}?)`;
      throw new CommanderError(2, 'commander.unknownCommand', `unknown command '${word}'${meant}`);
    }
    group = found;
  }
}

function buildProgram(program: Command, context: CommandContext): void {
  const { stdout, stderr } = context.surroundings;
  program
    .description(
      'Keeps accepted work going, truthfully, when the management systems around it fail',
    )
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(text),
      outputError: () => {},
    })
    .configureHelp({ showGlobalOptions: true })
    .version(VERSION, '-V, --version', 'print the version')
    .option('--control <url>', 'address of control, as http://127.0.0.1:7480')
    .option('--control-token-file <file>', "file with an operator's token")
    .option('--sidecar <url>', 'address of the sidecar, as http://127.0.0.1:7490 or unix:/path')
    .option('--sidecar-token-file <file>', "file with an app's token")
    .addOption(
      new Option('-o, --output <format>', 'how to print').choices(OUTPUT_FORMATS).default('table'),
    )
    .option('--timeout <duration>', 'longest wait for one answer', '10s')
    .option('--no-color', 'print without colour')
    .option('-q, --quiet', 'print no notes beside the data')
    .addHelpText('after', AFTER_HELP);
  addDevCommand(program, context);
  addStatusCommand(program, context);
  addHealthCommands(program, context);
  addPolicyCommands(program, context);
  addConfigCommands(program, context);
  addOperationCommands(program, context);
  addReconcileCommands(program, context);
  addApprovalCommands(program, context);
  addNoticeCommands(program, context);
  addRefusalCommands(program, context);
  addLeaseCommands(program, context);
  addLimitsCommand(program, context);
  addPlacementCommands(program, context);
  addRegisterCommands(program, context);
  addWebhookCommands(program, context);
  addMcpCommand(program, context);
  addOutageCommands(program, context);
  addRecoveryCommand(program, context);
  addDivergenceCommands(program, context);
  addResumeCommands(program, context);
  addHostCommands(program, context);
  addFleetCommand(program, context);
  addJournalCommand(program);
  addOperatorCommands(program, context);
  addAuditCommands(program, context);
  addCompletionCommands(program, context);
  addVersionCommand(program, context);
}

/** Made anew, because the flags that shape it may be what is wrong. */
function failureOutput(program: Command, surroundings: Surroundings): Output {
  const { stdout, stderr, argv } = surroundings;
  const asked = argv.some(
    (word, at) =>
      word === '-ojson' ||
      word === '--output=json' ||
      (word === 'json' && /^(-o|--output)$/.test(argv[at - 1] ?? '')),
  );
  const format: OutputFormat = asked ? 'json' : 'table';
  const isQuiet = program.opts<Partial<GlobalFlags>>().quiet === true;
  return new Output({ format, hasColour: false, isQuiet, stdout, stderr });
}
