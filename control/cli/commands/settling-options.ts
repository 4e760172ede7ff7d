/** What whoever settles an unknown outcome has to say, whichever command it is. */
import { Option, type Command } from 'commander';

export function withOutcome(command: Command): Command {
  return command
    .addOption(
      new Option('--outcome <outcome>', 'what happened')
        .choices(['succeeded', 'failed'])
        .makeOptionMandatory(),
    )
    .requiredOption('--reason <text>', 'how you know; it is recorded')
    .addOption(
      new Option(
        '--provenance <provenance>',
        'verified: the target was asked; asserted: somebody says so; assumed',
      )
        .choices(['verified', 'asserted', 'assumed'])
        .default('asserted'),
    );
}
