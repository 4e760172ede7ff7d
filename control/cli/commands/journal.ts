/**
 * The journal of a sidecar, through the sidecar's own program: control and the sidecar share no
 * code of a journal, and this command holds none.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { EXIT, ProgramEnded } from '../failures.ts';

const SIDECAR = fileURLToPath(new URL('../../../dataplane/main.ts', import.meta.url));

export function addJournalCommand(program: Command): void {
  program
    .command('journal [words...]')
    .description('verify, export, back up, restore the journal of a sidecar on this host')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: string[]) => {
      // Its own output, as it is: an export may be larger than memory.
      const child = spawn(process.execPath, [SIDECAR, 'journal', ...words], { stdio: 'inherit' });
      const code = await new Promise<number | null>((resolve, reject) => {
        child.once('error', reject).once('close', resolve);
      });
      if (code !== 0) throw new ProgramEnded(code === 2 ? EXIT.usage : EXIT.failure);
    });
}
