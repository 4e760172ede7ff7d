/** What a person does about a journal that its host does not believe: the real command. */
import { Writable } from 'node:stream';
import { runJournalTool } from '../../../dataplane/journal/journal-tool.ts';
import type { Clock } from '../../../shared/platform/clock.ts';

/**
 * What was done, in the words of the history; `null` where the command left all as it is: the journal
 * that was damaged is not there any more (a copy of the disk was put back meanwhile) or is in use.
 */
export async function acceptLoss(
  dataDir: string,
  clock: Clock,
  keepsRest: boolean,
): Promise<string | null> {
  for (const flags of keepsRest ? [['--keep'], []] : [[]]) {
    let said = '';
    const out = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        said += chunk.toString();
        done();
      },
    });
    const argv = ['accept-loss', '--data-dir', dataDir, '--yes', ...flags];
    const exitCode = await runJournalTool(argv, { clock, out, err: out });
    if (exitCode === 0 && /^moved to /m.test(said))
      return `${['accept-loss', ...flags].join(' ')}: ${exitCode}`;
  }
  return null;
}
