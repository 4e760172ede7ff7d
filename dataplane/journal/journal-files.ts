/** Where the journal and what remembers it lie: a directory of its own in the data directory. */
import { dirname, join } from 'node:path';

export type JournalFiles = {
  readonly directory: string;
  readonly database: string;
  readonly wal: string;
  /** How far the journal has come, kept outside of it. */
  readonly head: string;
  /** Written where a loss is found while the sidecar runs: the next start has the evidence. */
  readonly loss: string;
  /** Room to give back when the disk is full. */
  readonly ballast: string;
  /** Who this host is: one that has a name has had a journal. */
  readonly identity: string;
};

export function journalFiles(directory: string): JournalFiles {
  const database = join(directory, 'journal.db');
  return {
    directory,
    database,
    wal: `${database}-wal`,
    head: join(directory, 'journal.head'),
    loss: join(directory, 'journal.loss'),
    ballast: join(directory, 'journal.ballast'),
    identity: join(dirname(directory), 'identity.json'),
  };
}
