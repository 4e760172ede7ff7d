/**
 * Completion for shells. The scripts ask the command itself for candidates, so they never fall
 * behind the tree of commands.
 */
import { Argument, type Command } from 'commander';
import type { CommandContext } from '../command-context.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `# Put this into ~/.bashrc:  source <(holdfast completion bash)
_holdfast() {
  local IFS=$'\\n' candidates
  candidates=$(holdfast complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=($(compgen -W "$candidates" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _holdfast holdfast
`,
  zsh: `#compdef holdfast
# Put this into ~/.zshrc, after compinit:  source <(holdfast completion zsh)
_holdfast() {
  local -a candidates
  candidates=("\${(@f)$(holdfast complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a candidates || _files
}
compdef _holdfast holdfast
`,
  fish: `# Put this into ~/.config/fish/completions/holdfast.fish:  holdfast completion fish
complete -c holdfast -a '(holdfast complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
};

export function addCompletionCommands(program: Command, context: CommandContext): void {
  program
    .command('completion')
    .description('print a completion script for your shell')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .action((shell: Shell) => context.output.raw(SCRIPTS[shell]));
  program.command('complete [words...]', { hidden: true }).action((words: string[]) =>
    context.output.raw(
      candidatesFor(program, words)
        .map((word) => `${word}\n`)
        .join(''),
    ),
  );
}

/** What may stand at the last of `words`, which may be empty or begun. */
export function candidatesFor(program: Command, words: readonly string[]): string[] {
  const begun = words.at(-1) ?? '';
  let command = program;
  for (const word of words.slice(0, -1)) {
    command = command.commands.find((candidate) => candidate.name() === word) ?? command;
  }
  const previous = words.at(-2) ?? '';
  const options = [...command.options, ...(command === program ? [] : program.options)];
  const expecting = options.find((option) => option.long === previous || option.short === previous);
  if (expecting?.argChoices !== undefined) return startingWith(expecting.argChoices, begun);
  if (begun.startsWith('-')) {
    return startingWith(
      options.flatMap((option) => option.long ?? []),
      begun,
    );
  }
  const argumentChoices = command.registeredArguments.flatMap(
    (argument) => argument.argChoices ?? [],
  );
  const names = command
    .createHelp()
    .visibleCommands(command)
    .map((candidate) => candidate.name());
  return startingWith([...names, ...argumentChoices], begun);
}

function startingWith(candidates: readonly string[], begun: string): string[] {
  return candidates.filter((candidate) => candidate.startsWith(begun)).toSorted();
}
