/** A journal whose time is a fake clock, with the writer in the same thread: for what ages. */
import { mkdirSync, rmSync } from 'node:fs';
import { DAY_MS, MINUTE_MS } from '../../shared/core/time.ts';
import type { Admission, Outage } from '../../shared/wire/operation.ts';
import { withMoment } from '../../dataplane/core/outage-interval.ts';
import type { LifecycleEvent } from '../../dataplane/core/operation-record.ts';
import type { RetentionLimits } from '../../dataplane/core/retention.ts';
import { JournalEngine } from '../../dataplane/journal/journal-engine.ts';
import { journalFiles, type JournalFiles } from '../../dataplane/journal/journal-files.ts';
import { JournalReader } from '../../dataplane/journal/journal-reader.ts';
import { Journal } from '../../dataplane/journal/journal.ts';
import { verifyJournal } from '../../dataplane/journal/start-verification.ts';
import type { FakeClock } from './fake-clock.ts';
import { newEntry, newRefusal } from './journal-image.ts';

export const KEPT_A_WEEK: RetentionLimits = { retentionMs: 7 * DAY_MS, sizeBytesMax: null };

export class AgedJournal {
  readonly files: JournalFiles;
  readonly clock: FakeClock;
  journal: Journal;
  #outages = 0;

  constructor(directory: string, clock: FakeClock) {
    this.files = journalFiles(directory);
    mkdirSync(directory, { recursive: true });
    this.clock = clock;
    this.journal = this.#open();
  }

  #open(): Journal {
    const engine = new JournalEngine(this.files, this.clock);
    return new Journal({
      writer: {
        write: async (commands) => engine.write(commands),
        close: async () => engine.close(),
      },
      reader: new JournalReader(this.files.database),
      snapshot: engine.snapshot(),
      clock: this.clock,
    });
  }

  async reopen(): Promise<void> {
    await this.journal.close();
    this.journal = this.#open();
  }

  async remove(): Promise<void> {
    await this.journal.close();
    rmSync(this.files.directory, { recursive: true });
  }

  async admit(
    key: string,
    deadlineMs = 10 * MINUTE_MS,
    attributes = {},
    over: Partial<Admission> = {},
  ): Promise<void> {
    const now = this.clock.now();
    const entry = newEntry(key, attributes, now);
    const deadlineAtMs = now.wallMs + deadlineMs;
    const deadlineBoot = { bootId: now.bootId, bootMs: now.bootMs + deadlineMs };
    const admission = { ...entry.admission, deadlineAtMs, deadlineBoot, ...over };
    await this.journal.admit({ ...entry, admission });
  }

  async apply(key: string, event: LifecycleEvent): Promise<void> {
    await this.journal.submit({ type: 'apply', operationId: `op_${key}`, app: 'demo', event });
  }

  async start(key: string): Promise<void> {
    await this.apply(key, { kind: 'start_attempt', supersede: false, key: null, ownership: null });
  }

  async end(key: string, outcome: 'succeeded' | 'failed' | 'unknown' = 'succeeded') {
    const report = { kind: 'report_outcome', attempt: 1, result: null, reason: null } as const;
    await this.apply(key, { ...report, outcome, ownership: null });
  }

  /** Admitted, started and succeeded, all at once. */
  async done(key: string, deadlineMs?: number): Promise<void> {
    await this.admit(key, deadlineMs);
    await this.start(key);
    await this.end(key);
  }

  async refuse(refusalId: string): Promise<void> {
    const atMs = this.clock.now().wallMs;
    const refusal = { ...newRefusal(0), refusalId, atMs };
    await this.journal.submit({ type: 'refuse', refusal });
  }

  /** Opens one, or closes the one that is open. */
  async outage(): Promise<void> {
    const open = this.journal.openOutage();
    const { wallMs } = this.clock.now();
    if (open !== null) {
      await this.journal.recordOutage('outage_closed', { ...open, toMs: wallMs });
      return;
    }
    this.#outages += 1;
    const outage: Outage = {
      outageId: `out_${this.#outages}`,
      fromMs: wallMs,
      toMs: null,
      cause: 'timeout',
      detail: 'no answer',
      policyRevision: 1,
      stalenessMs: 5,
    };
    await this.journal.recordOutage('outage_opened', outage);
  }

  /** The one that is open goes on in another way; nothing where none is. */
  async outageMoment(): Promise<void> {
    const open = this.journal.openOutage();
    if (open === null) return;
    const atMs = this.clock.now().wallMs;
    const at = { atMs, policyRevision: 1, stalenessMs: 5 };
    const moment = { ...at, kind: 'cause_changed', cause: 'refused', detail: 'no' } as const;
    await this.journal.recordOutage('outage_changed', withMoment(open, moment).outage);
  }

  /** Control holds all there is. */
  async report(): Promise<void> {
    await this.journal.acknowledge(this.journal.head().seq);
  }

  /** Steps until there is nothing more; the last of them. */
  async prune(limits: RetentionLimits = KEPT_A_WEEK) {
    for (let steps = 1; ; steps += 1) {
      const step = await this.journal.prune(limits);
      if (!step.more) return { ...step, steps };
    }
  }

  /** By their keys, in order. */
  keys(): string[] {
    const filter = { app: null, state: null, beforeSeq: Number.MAX_SAFE_INTEGER, limit: 1_000_000 };
    const operations = this.journal.reader.operations(filter);
    return operations.map(({ operation }) => operation.idempotencyKey).toReversed();
  }

  async knows(key: string): Promise<boolean> {
    return (await this.journal.operationByKey('demo', key)) !== null;
  }
}

/** As a start finds it: all of it, and as bounded as can be. Throws with what is found. */
export function expectSound(files: JournalFiles): void {
  for (const entriesMax of [Number.MAX_SAFE_INTEGER, 1, 3]) {
    const verdict = verifyJournal(files, { entriesMax });
    if (verdict.kind !== 'ok') throw new Error(`${entriesMax}: ${JSON.stringify(verdict)}`);
  }
}
