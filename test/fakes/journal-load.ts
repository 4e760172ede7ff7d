/** A program that fills a journal as fast as it can, and says what was answered, until it is killed. */
import { SystemClock } from '../../shared/platform/clock.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { newEntry } from './journal-image.ts';

export const JOURNAL_LOAD = import.meta.filename;

const WORKERS = 8;

async function load(directory: string, prefix: string): Promise<void> {
  const journal = await openJournal(directory, new SystemClock());
  if (journal.quarantine !== null) throw new Error(journal.quarantine);
  let count = 0;
  const worker = async (): Promise<never> => {
    for (;;) {
      count += 1;
      const answer = await journal.admit(newEntry(`${prefix}-${count}`));
      if (answer.type === 'admitted') process.stdout.write(`${answer.operation.operationId}\n`);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
}

if (import.meta.main) await load(process.argv[2] ?? '', process.argv[3] ?? '');
