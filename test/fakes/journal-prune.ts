/** A program that removes from a journal what may go, until there is nothing more or it is killed. */
import { SystemClock } from '../../shared/platform/clock.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { KEPT_A_WEEK } from './aged-journal.ts';

export const JOURNAL_PRUNE = import.meta.filename;

async function prune(directory: string): Promise<void> {
  const journal = await openJournal(directory, new SystemClock());
  if (journal.quarantine !== null) throw new Error(journal.quarantine);
  for (let more = true; more;) ({ more } = await journal.prune(KEPT_A_WEEK));
  await journal.close();
}

if (import.meta.main) await prune(process.argv[2] ?? '');
