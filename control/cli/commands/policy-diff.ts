import { InvalidArgumentError, Option, type Command } from 'commander';
import { ProblemError } from '../../../shared/client/index.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandError, EXIT, ProgramEnded, usageError } from '../failures.ts';
import type { Output } from '../output.ts';
import type { ComparedSide, PolicyDifference } from '../policy/policy-difference.ts';
import { readSource, type PolicySource } from '../policy/policy-source.ts';
import { SourcePlaces } from '../policy/source-places.ts';
import { parseRevision } from './options.ts';

export function addPolicyDiff(policy: Command, context: CommandContext): void {
  policy
    .command('diff <file> [other]')
    .description(
      'show what changes from one policy document to another, or from the one in force on control; exits with 1 where they differ',
    )
    .addOption(
      new Option('--revision <revision>', 'from this published revision').argParser(parseRevision),
    )
    .addOption(
      new Option('--context <lines>', 'unchanged lines around a change')
        .argParser(parseLines)
        .default(3),
    )
    .action((file: string, other: string | undefined, flags: DiffFlags) =>
      diff(context, [file, other], flags),
    );
}

const NOTHING = 'nothing published';

type DiffFlags = { readonly revision?: number; readonly context: number };

function parseLines(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

async function diff(
  context: CommandContext,
  [file, other]: readonly [string, string | undefined],
  flags: DiffFlags,
): Promise<void> {
  if (other !== undefined && flags.revision !== undefined) {
    throw usageError('two documents are named, so --revision has no meaning: name one');
  }
  if (file === '-' && other === '-') throw usageError('- is standard input: it can be only one');
  const { cwd } = context.surroundings;
  const from =
    other === undefined
      ? await publishedSide(context, flags.revision)
      : await fileSide(readSource(cwd, file, EXIT.usage));
  const to = await fileSide(readSource(cwd, other ?? file, EXIT.usage));
  const { differenceOf } = await import('../policy/policy-difference.ts');
  const difference = differenceOf(from, to, flags.context);
  const { output } = context;
  output.custom({ from: from.name, to: to.name, ...difference }, () => {
    output.raw(difference.text);
    showChanges(output, difference);
  });
  if (difference.invalid !== null && difference.invalid !== NOTHING) {
    output.note(`only the texts are compared: ${difference.invalid} is no valid policy`);
  }
  if (difference.differs) throw new ProgramEnded(EXIT.failure);
}

/** What a reviewer asks first: does it let anything happen that could not happen before? */
function showChanges(output: Output, { changes }: PolicyDifference): void {
  if (changes === null || changes.length === 0) return;
  output.line();
  output.table(changes, [
    { header: 'EFFECT', value: ({ kind }) => kind },
    { header: 'WHERE', value: ({ path }) => path },
    { header: 'WHAT', value: ({ sentence }) => sentence },
  ]);
}

async function fileSide(source: PolicySource): Promise<ComparedSide> {
  const { parsePolicy } = await import('../../../shared/platform/policy-gate.ts');
  const parsed = parsePolicy(source.bytes, source.format);
  if (parsed.ok) return { name: source.file, value: parsed.value };
  const places = new SourcePlaces(source);
  throw new CommandError(parsed.code, `${source.file} cannot be read as ${source.format}`, {
    exitCode: EXIT.usage,
    errors: parsed.problems.map((problem) => places.place(problem)),
  });
}

/** Where nothing is published yet, all of the document is new. */
async function publishedSide(
  { control }: CommandContext,
  revision: number | undefined,
): Promise<ComparedSide> {
  try {
    const { policyRevision, policy } =
      revision === undefined ? await control.policy() : await control.policyRevision(revision);
    return { name: `policy revision ${policyRevision}`, value: policy };
  } catch (error) {
    const isNothing = error instanceof ProblemError && error.status === 404;
    if (!isNothing || revision !== undefined) throw error;
    return { name: NOTHING, value: {} };
  }
}
