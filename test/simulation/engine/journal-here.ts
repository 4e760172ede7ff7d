/** The writer of a journal in this thread, with the time that its disk takes. */
import type { Clock } from '../../../shared/platform/clock.ts';
import { JournalEngine } from '../../../dataplane/journal/journal-engine.ts';
import type { JournalWriter } from '../../../dataplane/journal/journal-command.ts';
import type { OpenWriter } from '../../../dataplane/journal/open-journal.ts';
import type { Life } from './life.ts';

/** As `journal-writer.ts` has it. */
const BATCH_BOUND_MS = 30_000;
const HEAD_SYNC_MS = 1_000;
const SLICE_MS = 500;

export type DiskTiming = {
  /** How long one write takes just now. */
  writeMs(): number;
  isSlow(): boolean;
  /** An error that this write ends with, before or after it is committed; `null`: none. */
  takeFailure(): 'before' | 'after' | null;
};

export function writerIn(life: Life, disk: DiskTiming): OpenWriter {
  return async (files, clock) => {
    const engine = new JournalEngine(files, clock);
    life.closeLater(() => engine.close());
    let last: Promise<unknown> = Promise.resolve();
    let isSyncing = false;
    const syncSoon = (): void => {
      if (isSyncing) return;
      isSyncing = true;
      clock.startTimer(HEAD_SYNC_MS, () => {
        isSyncing = false;
        engine.syncHead();
      });
    };
    const writer: JournalWriter = {
      write(commands) {
        const batch = last.then(async () => {
          const tookMs = disk.writeMs();
          await written(clock, disk, Math.min(tookMs, BATCH_BOUND_MS));
          if (tookMs > BATCH_BOUND_MS && disk.isSlow())
            throw new Error('the disk has not answered for 30 s');
          const failure = disk.takeFailure();
          if (failure === 'before') throw diskError();
          const answer = life.within(() => engine.write(commands));
          if (failure === 'after') throw diskError();
          // Between the commit and the answer there is a moment in which everything can happen.
          await passes(clock, 1);
          syncSoon();
          return answer;
        });
        last = batch.catch(() => undefined);
        return batch;
      },
      close: async () => {
        await last;
        engine.close();
      },
    };
    return { writer, snapshot: engine.snapshot() };
  };
}

/** What is slow ends when the disk is no longer slow. */
async function written(clock: Clock, disk: DiskTiming, tookMs: number): Promise<void> {
  for (let leftMs = tookMs; leftMs > 0; leftMs -= SLICE_MS) {
    await passes(clock, Math.min(leftMs, SLICE_MS));
    if (!disk.isSlow()) return;
  }
}

function passes(clock: Clock, durationMs: number): Promise<void> {
  return new Promise((resolve) => void clock.startTimer(durationMs, resolve));
}

function diskError(): Error {
  return Object.assign(new Error('disk I/O error'), { code: 'ERR_SQLITE_ERROR', errcode: 10 });
}
