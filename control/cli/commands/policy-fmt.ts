import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { writeDurableFile } from '../../../shared/platform/durable-file.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandError, usageError } from '../failures.ts';
import { readSources, refuseStandardInput, type PolicySource } from '../policy/policy-source.ts';
import { SourcePlaces } from '../policy/source-places.ts';

export function addPolicyFormat(policy: Command, context: CommandContext): void {
  policy
    .command('fmt <file...>')
    .description(
      'write policy documents in one form, with their comments; the meaning stays (files, quoted patterns, or -)',
    )
    .option('--check', 'change nothing; fail where a file has another form')
    .option('--write', 'change the files instead of printing')
    .action((files: string[], flags: FormatFlags) => format(context, files, flags));
}

type FormatFlags = { readonly check?: boolean; readonly write?: boolean };

async function format(
  context: CommandContext,
  files: readonly string[],
  flags: FormatFlags,
): Promise<void> {
  const { output, surroundings } = context;
  const { cwd } = surroundings;
  if (flags.check === true && flags.write === true) {
    throw usageError('--check changes nothing and --write does: choose one');
  }
  if (flags.write === true) refuseStandardInput(files, 'there is no file to write it to');
  const sources = readSources(cwd, files);
  const isPrinting = flags.check !== true && flags.write !== true;
  if (isPrinting && sources.length > 1) {
    throw usageError(`${sources.length} files: say --check or --write, or name one to print it`);
  }
  const formatted: { source: PolicySource; text: string; isChanged: boolean }[] = [];
  for (const source of sources) {
    const text = await formattedText(source);
    formatted.push({ source, text, isChanged: text !== source.bytes.toString('utf8') });
  }
  if (isPrinting) return output.raw(formatted.map(({ text }) => text).join(''));
  const changed = formatted.filter(({ isChanged }) => isChanged);
  if (flags.write === true) for (const { source, text } of changed) write(cwd, source.file, text);
  const names = changed.map(({ source }) => source.file);
  output.custom({ files: sources.length, changed: names }, () => {
    for (const name of names) output.line(name);
  });
  if (flags.check === true && changed.length > 0) {
    const hint = 'holdfast policy fmt --write FILE puts it right';
    const noun = sources.length === 1 ? 'file has' : 'files have';
    throw new CommandError(
      'not_formatted',
      `${changed.length} of ${sources.length} ${noun} another form`,
      { hint },
    );
  }
}

async function formattedText(source: PolicySource): Promise<string> {
  const { parsePolicy } = await import('../../../shared/platform/policy-gate.ts');
  const { formatPolicy } = await import('../policy/policy-format.ts');
  const parsed = parsePolicy(source.bytes, source.format);
  if (parsed.ok) return formatPolicy(source.bytes.toString('utf8'), source.format);
  const places = new SourcePlaces(source);
  throw new CommandError(parsed.code, `${source.file} cannot be read as ${source.format}`, {
    errors: parsed.problems.map((problem) => places.place(problem)),
  });
}

/** Whole or not at all, with the rights that it had. */
function write(cwd: string, file: string, text: string): void {
  const path = resolve(cwd, file);
  try {
    writeDurableFile(path, text, { mode: statSync(path).mode & 0o777 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CommandError('file_unwritable', `cannot write ${file}: ${code ?? message}`, {
      cause: error,
    });
  }
}
