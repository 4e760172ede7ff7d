/** `holdfast policy decide`: the same question to a file, to control, or to the sidecar. */
import { Option, type Command } from 'commander';
import { Compile } from 'typebox/compile';
import type { DecisionAnswer, PolicyDecision } from '../../../shared/wire/decision.ts';
import type { DecisionTrace, ExpressionTrace } from '../../../shared/wire/decision-trace.ts';
import { DecisionInputSchema, type DecisionInput } from '../../../shared/wire/policy-document.ts';
import type { CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import { usageError } from '../failures.ts';
import { durationText } from '../time-text.ts';
import { fromFlag, parseRevision } from './options.ts';
import { readSource } from '../policy/policy-source.ts';

type DecideFlags = {
  readonly principal: string;
  readonly action: string;
  readonly resource?: string;
  readonly resourceAttributes?: string;
  readonly attributes?: string;
  readonly file?: string;
  readonly from: DaemonName;
  readonly revision?: number;
  readonly explain?: boolean;
};

export function addPolicyDecideCommand(policy: Command, context: CommandContext): void {
  policy
    .command('decide')
    .description('say what would be decided about a request; nothing comes of it')
    .requiredOption('--principal <principal>', 'who asks, as agent:billing')
    .requiredOption('--action <action>', 'what for, as payments.capture')
    .option('--resource <id>', 'on what')
    .option('--resource-attributes <json>', 'attributes of the resource, as a JSON object')
    .option('--attributes <json>', 'attributes of the request, as a JSON object')
    .option('--file <file>', 'decide here under this document, without talking to anybody')
    .addOption(fromFlag('sidecar'))
    .addOption(
      new Option('--revision <revision>', 'under this revision; asks control').argParser(
        parseRevision,
      ),
    )
    .option('--explain', 'every rule considered, and what each expression gave')
    .action((flags: DecideFlags) => decide(context, flags));
}

async function decide(context: CommandContext, flags: DecideFlags): Promise<void> {
  const input = inputOf(flags);
  const isExplained = flags.explain === true;
  if (flags.file !== undefined && flags.revision !== undefined)
    throw usageError('--file has no revisions: give either --file or --revision');
  if (flags.file !== undefined) {
    const { bytes, format } = readSource(context.surroundings.cwd, flags.file);
    // Loaded only here: compiling schemas and expressions takes longer than most commands.
    const { decideOffline } = await import('../offline-decision.ts');
    const answer = decideOffline({ name: flags.file, bytes, format }, input);
    show(context, isExplained ? answer : { ...answer, trace: null }, flags.file);
  } else if (flags.from === 'control' || flags.revision !== undefined) {
    const { revision } = flags;
    const asked = { isExplained, ...(revision === undefined ? {} : { revision }) };
    const answer = await context.control.decidePolicy(input, asked);
    show(context, answer, `policy revision ${answer.policyRevision}`);
  } else {
    const answer = await context.sidecar.decide(input, { isExplained });
    show(context, answer, `policy revision ${answer.policyRevision}`);
  }
}

const inputChecker = Compile(DecisionInputSchema);

function inputOf(flags: DecideFlags): DecisionInput {
  const { principal, action, resource } = flags;
  const attributes = objectFlag('--attributes', flags.attributes);
  const ofResource = objectFlag('--resource-attributes', flags.resourceAttributes);
  if (ofResource !== undefined && resource === undefined)
    throw usageError('--resource-attributes needs --resource: name what they are of');
  const input = {
    principal,
    action,
    ...(resource === undefined
      ? {}
      : {
          resource: {
            id: resource,
            ...(ofResource === undefined ? {} : { attributes: ofResource }),
          },
        }),
    ...(attributes === undefined ? {} : { attributes }),
  };
  if (inputChecker.Check(input)) return input;
  const first = inputChecker.Errors(input)[0];
  throw usageError(`the request does not fit: ${first?.instancePath} ${first?.message}`);
}

function objectFlag(flag: string, text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw usageError(`${flag} ${text} is not a JSON object: write it as '{"amount": 20}'`);
  return value as Record<string, unknown>;
}

function show(
  context: CommandContext,
  answer: PolicyDecision | DecisionAnswer,
  under: string,
): void {
  const { output } = context;
  output.custom(answer, () => {
    const lines: [string, string][] = [
      ['decision', answer.decision],
      ['reason', [answer.reason, answer.message].filter(Boolean).join(': ')],
      ['rule', answer.rule ?? '-'],
      ['under', under],
    ];
    for (const warning of answer.warnings) lines.push(['warning', warning]);
    if ('admission' in answer) lines.push(...sidecarLines(answer));
    else if (answer.leaseResource !== null) lines.push(['lease', answer.leaseResource]);
    output.fields(lines);
    if (answer.trace !== null) printTrace(context, answer.trace);
  });
}

function sidecarLines(answer: DecisionAnswer): [string, string][] {
  const { basis, stalenessMs, maxStalenessMs, lease, limits, admission, traceMissing } = answer;
  const lines: [string, string][] = [
    [
      'basis',
      `${basis}, staleness ${durationText(stalenessMs)} of ${durationText(maxStalenessMs)}`,
    ],
  ];
  if (lease !== null) {
    const state = lease.owned
      ? `epoch ${lease.epoch}${lease.inGrace ? ', in grace' : ''}`
      : (lease.reason ?? '');
    lines.push(['lease', `${lease.resource}, ${state}`]);
  }
  for (const { kind, scope, per, key, used, limit } of limits ?? []) {
    const whose = per === 'rule' ? '' : ` of ${per} ${key}`;
    lines.push(['limit', `${kind}${whose}: ${used} of ${limit} used (${scope})`]);
  }
  lines.push(['admission', admissionText(admission)]);
  if (traceMissing !== null) lines.push(['trace', traceMissing]);
  return lines;
}

/** As it was decided: rule by rule, expression by expression. */
export function printTrace({ output }: CommandContext, trace: DecisionTrace): void {
  output.line();
  output.heading(
    trace.roles === null
      ? 'The principal is not in the policy'
      : `Roles: ${trace.roles.join(', ') || 'none'}`,
  );
  for (const { name, value, message, outcome } of trace.variables)
    output.line(`  variables.${name} = ${outcome === 'value' ? value : `failed: ${message}`}`);
  for (const { rule, path, outcome, match, permit } of trace.rules) {
    output.line(`${outcome === 'decided' ? 'decided by' : 'not matched:'} ${rule} (${path})`);
    for (const one of match) output.line(`  match   ${expressionText(one)}`);
    for (const one of permit) output.line(`  permit  ${expressionText(one)}`);
  }
  if (trace.rules.length === 0) output.line('no rule is for this action');
  if (trace.rulesNotReached > 0)
    output.line(`${trace.rulesNotReached} more are for this action and were not come to`);
}

function admissionText({ outcome, code, detail }: DecisionAnswer['admission']): string {
  if (outcome === 'admitted') return 'would be admitted';
  return outcome === 'refused' ? `would be refused: ${code} (${detail})` : detail;
}

function expressionText({ expression, outcome, message }: ExpressionTrace): string {
  return `${outcome.padEnd(7)}  ${expression}${message === null ? '' : `  (${message})`}`;
}
