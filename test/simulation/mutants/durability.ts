/** Bugs of what is kept and given back: I1, I2, I12. */
import type { Mutant } from './mutant.ts';

export const DURABILITY_MUTANTS: readonly Mutant[] = [
  {
    name: 'answer-before-commit',
    about: 'the journal answers a batch first and commits it a moment later',
    promise: 'I1',
    file: 'dataplane/journal/journal-engine.ts',
    find: `    failpoint('journal.before_begin');
    this.#statements.begin.run();`,
    replace: `    failpoint('journal.before_begin');
    if (this.#database.isTransaction) this.#database.exec('COMMIT');
    this.#statements.commit = { run: () => undefined } as never;
    this.#statements.begin.run();`,
    seedsMax: 4,
  },
  {
    name: 'skip-fsync',
    about: 'a small file is replaced without a sync of its content or its directory',
    promise: 'I11',
    file: 'shared/platform/durable-file.ts',
    find: `    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  syncDirectory(dirname(path));`,
    replace: `  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  if (dirname(path) === '') syncDirectory(dirname(path));`,
    seedsMax: 4,
  },
  {
    name: 'journal-without-sync',
    about: 'the journal syncs its log at checkpoints alone',
    promise: 'I1',
    file: 'dataplane/journal/journal-engine.ts',
    find: 'this.#database.exec(`PRAGMA journal_size_limit=${WAL_KEPT_BYTES}`);',
    replace:
      'this.#database.exec(`PRAGMA journal_size_limit=${WAL_KEPT_BYTES}; PRAGMA synchronous=NORMAL`);',
    seedsMax: 20,
  },
  {
    name: 'control-without-sync',
    about: 'control syncs the log of its store at checkpoints alone',
    promise: 'I12',
    file: 'control/store/sqlite-control-store.ts',
    find: `    migrate(database, CONTROL_MIGRATIONS);
`,
    replace: `    migrate(database, CONTROL_MIGRATIONS);
    database.exec('PRAGMA synchronous=NORMAL');
`,
    seedsMax: 40,
  },
  {
    name: 'believe-a-cut-journal',
    about: 'a journal that ends before what is remembered of it is taken as it is',
    promise: 'I1',
    file: 'dataplane/core/journal-verdict.ts',
    find: "  if (evidence.length > 0) return { kind: 'lost', evidence: [...new Set(evidence)] };",
    replace:
      "  if (evidence.length > 99) return { kind: 'lost', evidence: [...new Set(evidence)] };",
    seedsMax: 60,
  },
  {
    name: 'drop-an-entry',
    about: 'now and then a batch is undone and answered as if it had been written',
    promise: 'I1',
    file: 'dataplane/journal/journal-engine.ts',
    find: `    this.#statements.commit.run();
    failpoint('journal.after_commit');`,
    replace: `    if (this.#seq % 41 === 40) this.#statements.rollback.run();
    else this.#statements.commit.run();
    failpoint('journal.after_commit');`,
    seedsMax: 4,
  },
  {
    name: 'forget-the-key',
    about: 'every third key is not remembered',
    promise: 'I2',
    file: 'dataplane/journal/journal-engine.ts',
    find: 'this.#keys.add(key, seq);',
    replace: 'if (seq % 3 !== 0) this.#keys.add(key, seq);',
    seedsMax: 4,
  },
  {
    name: 'lose-the-fingerprint',
    about: 'a known key is answered with its operation whatever the payload is',
    promise: 'I2',
    file: 'dataplane/journal/journal-engine.ts',
    find: 'if (known.fingerprint === fingerprint) return',
    replace: 'if (known.fingerprint !== null) return',
    seedsMax: 4,
  },
  {
    name: 'replay-as-new',
    about: 'whoever asks again with the same key is told that it is new',
    promise: 'I2',
    file: 'dataplane/operations/admissions.ts',
    find: 'return replayed ? 200 : 201;',
    replace: 'return replayed ? 201 : 201;',
    seedsMax: 4,
  },
  {
    name: 'drop-a-report',
    about: 'the entry that admits an operation is not stored where it is not the only one reported',
    promise: 'I12',
    file: 'control/store/sqlite-reports.ts',
    find: 'for (const { event, problem } of write.events) {',
    replace: `for (const { event, problem } of write.events.filter(
    ({ event }) => event.kind !== 'checkpoint_saved' && event.kind !== 'worker_lost',
  )) {`,
    seedsMax: 4,
  },
  {
    name: 'acknowledge-before-commit',
    about: 'a report is acknowledged as a whole, and stored but for its last entry',
    promise: 'I12',
    file: 'control/reports/report-intake.ts',
    find: 'const projection = await this.#project(host, fresh, receivedAtMs);',
    replace:
      'const projection = await this.#project(host, fresh.length > 1 ? fresh.slice(0, -1) : fresh, receivedAtMs);',
    seedsMax: 4,
  },
  {
    name: 'fold-half-the-changes',
    about: 'control does not fold a change that follows directly on the one before it',
    promise: 'I12',
    file: 'control/core/operation-projection.ts',
    find: 'seq <= known.lastSeq;',
    replace: 'seq <= known.lastSeq + 1;',
    seedsMax: 4,
  },
  {
    name: 'forget-refusals-on-the-way',
    about: 'control drops the refusals that came in one report with something else',
    promise: 'I12',
    file: 'control/store/sqlite-reports.ts',
    find: 'for (const refusal of write.refusals) putRefusal',
    replace: 'for (const refusal of write.operations.length > 0 ? [] : write.refusals) putRefusal',
    seedsMax: 4,
  },
  {
    name: 'serve-a-stale-read',
    about: 'what is read of an operation is as it was when it was looked at first',
    promise: 'I1',
    file: 'dataplane/journal/journal.ts',
    find: 'this.#hot.set(answer.operation.operationId, answer.operation);',
    replace: `if (!this.#hot.has(answer.operation.operationId))
            this.#hot.set(answer.operation.operationId, answer.operation);`,
    seedsMax: 4,
  },
  {
    name: 'approve-without-writing',
    about: 'whoever approves is answered, and the vote is not stored',
    promise: 'I1',
    file: 'control/approvals/approval-desk.ts',
    find: "if ((await store.approvals.write(write, [this.#audited(request, asked)])) === 'conflict')",
    replace:
      "if (version < 0 && (await store.approvals.write(write, [this.#audited(request, asked)])) === 'conflict')",
    seedsMax: 4,
  },
  {
    name: 'report-as-fresh',
    about: 'control shows every operation as decided by itself',
    promise: 'I12',
    file: 'control/core/operation-projection.ts',
    find: 'basis: operation.basis,',
    replace: "basis: 'fresh',",
    seedsMax: 4,
  },
  {
    name: 'report-under-another-name',
    about: 'control shows the app of an operation as its principal',
    promise: 'I12',
    file: 'control/core/operation-projection.ts',
    find: 'principal: operation.principal,',
    replace: 'principal: operation.app,',
    seedsMax: 4,
  },
  {
    name: 'lose-the-result',
    about: 'what an effect gave is answered, and not recorded',
    promise: 'I1',
    file: 'dataplane/core/operation-steps.ts',
    find: `settledAtMs: now.wallMs,
    result: event.result,`,
    replace: `settledAtMs: now.wallMs,
    result: null,`,
    seedsMax: 4,
  },
  {
    name: 'forget-the-checkpoint',
    about: 'an attempt begins without the checkpoint of the one before',
    promise: 'I1',
    file: 'dataplane/http/attempt-view.ts',
    find: 'checkpoint: operation.checkpoint,',
    replace: 'checkpoint: operation.attempt > 1 ? null : operation.checkpoint,',
    seedsMax: 4,
  },
];
