/**
 * Brings what is unknown to an end, as its rule said: asks the app, lets it be run again, or has it
 * undone (`core/reconciliation.ts`). It only proposes; the writer decides on the record.
 *
 * V1  A try is on disk before it is made, and its finding before anybody is told: a kill between the
 *     two costs one try and settles nothing (I1, I8).
 * V2  So many at a time: a probe that hangs holds up none of the others.
 * V3  An address that the operator of this host does not allow is never asked.
 * V4  An operation is undone by one compensation, whatever is killed when: its key comes from the
 *     operation (I2).
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { ProbeCaller } from '../../shared/platform/http-probe.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import type { ProbeTerms } from '../../shared/core/on-unknown.ts';
import { ERRORS, HoldfastError } from '../../shared/wire/problem.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import { notKnown, probeQuery, probeQuestion, readProbeAnswer } from '../core/probe.ts';
import type { ProbeFinding } from '../core/probe.ts';
import { onUnknownOf, reconciliationOf, stepOf } from '../core/reconciliation.ts';
import type { ReconciliationEvent } from '../core/reconciliation-event.ts';
import type { Journal } from '../journal/journal.ts';
import type { Admissions } from '../operations/admissions.ts';
import type { Applied, Executions } from '../operations/executions.ts';
import type { ProbeTargets } from './probe-targets.ts';

const ROUND_INTERVAL_MS = 1_000;
const TRIES_AT_ONCE_MAX = 8;
const COMPENSATIONS_LOOKED_AT_MAX = 100;

export type ReconcilerParts = {
  readonly journal: Journal;
  readonly executions: Pick<Executions, 'apply' | 'find'>;
  readonly admissions: Pick<Admissions, 'admit'>;
  readonly probe: ProbeCaller;
  readonly targets: ProbeTargets;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** What had ended goes on: it counts among what is under way again. */
  readonly onReopened: (operation: StoredOperation) => void;
  readonly onTry: (fact: { strategy: string; outcome: string }) => void;
};

export class Reconciler {
  readonly #parts: ReconcilerParts;
  /** Wall time as it would be had the wall clock not been set back since start. */
  readonly #started;
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
  #compensationsSeenSeq = 0;
  /** Of a try, for the next round to end with. */
  #failure: Error | null = null;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#started = parts.clock.now();
  }

  task(): Task {
    return {
      name: 'reconciler',
      run: async (signal) => {
        while (!signal.aborted) {
          await this.round();
          await this.#parts.clock.sleep(ROUND_INTERVAL_MS, signal);
        }
        this.#stop.abort();
        await this.settled();
      },
    };
  }

  /** Begins what is due; it does not wait for it. */
  async round(): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    const { journal, clock } = this.#parts;
    if ((journal.operationCounts()['unknown'] ?? 0) === 0) return;
    const now = clock.now();
    const steadyWallMs = Math.max(
      now.wallMs,
      this.#started.wallMs + now.bootMs - this.#started.bootMs,
    );
    for (const operation of journal.reader.reconciliations.due(
      steadyWallMs,
      TRIES_AT_ONCE_MAX * 2,
    )) {
      const { operationId } = operation;
      if (this.#underWay.size >= TRIES_AT_ONCE_MAX) break;
      if (!this.#underWay.has(operationId)) this.#begin(operationId, () => this.#step(operation));
    }
    this.#watchCompensations();
  }

  /** What was begun has come to its end. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay.values());
  }

  /**
   * At once, because somebody asks; one that is under way is joined. Throws `probe_undeclared`,
   * `probe_not_allowed`, `reconciliation_claimed`, `operation_not_unknown`.
   */
  async probeNow(operationId: string, by: string): Promise<StoredOperation> {
    const { executions } = this.#parts;
    const operation = executions.find(operationId, null);
    const running = this.#underWay.get(operationId);
    if (running !== undefined && operation.state === 'unknown') {
      await running;
      return executions.find(operationId, null);
    }
    const terms = onUnknownOf(operation);
    if (terms.strategy === 'probe') {
      const problem = this.#parts.targets.problemOf(terms.url);
      if (problem !== null) throw new HoldfastError('probe_not_allowed', problem);
    }
    const asking = Promise.withResolvers<void>();
    this.#begin(operationId, () => asking.promise);
    try {
      await this.#probe(operation, by);
    } finally {
      asking.resolve();
    }
    return executions.find(operationId, null);
  }

  #begin(operationId: string, work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => {
        // A full queue, a claim, a record that went another way: a later round looks again.
        if (error instanceof HoldfastError) return;
        this.#failure = error instanceof Error ? error : new Error(String(error));
      })
      .finally(() => this.#underWay.delete(operationId));
    this.#underWay.set(operationId, running);
  }

  async #step(operation: StoredOperation): Promise<void> {
    const step = stepOf(operation);
    switch (step.kind) {
      case 'leave_to_person':
        return this.#leaveToPerson(operation, step.reason);
      case 'probe':
        return this.#probe(operation, null);
      case 'retry':
        return this.#retry(operation);
      case 'compensate':
        return this.#compensate(operation);
    }
  }

  /** V1. */
  async #probe(operation: StoredOperation, by: string | null): Promise<void> {
    const { operationId } = operation;
    const terms = onUnknownOf(operation);
    if (terms.strategy === 'probe' && this.#parts.targets.problemOf(terms.url) !== null)
      return this.#leaveToPerson(operation, 'probe_not_allowed');
    const begun = await this.#apply(operationId, {
      kind: 'begin_try',
      strategy: 'probe',
      by,
      unitRandom: this.#parts.random.unit(),
    });
    if (!begun.changed || terms.strategy !== 'probe') return;
    const { tries: number } = reconciliationOf(begun.operation);
    const finding = await this.#ask(begun.operation, terms, number);
    if (this.#stop.signal.aborted) return;
    await this.#endTry(operationId, { strategy: 'probe', number, finding, isFinal: false });
  }

  async #ask(
    operation: StoredOperation,
    { url, method, timeoutMs }: ProbeTerms,
    number: number,
  ): Promise<ProbeFinding> {
    const question = probeQuestion(operation, number);
    const address = new URL(url);
    if (method === 'GET')
      for (const [name, value] of probeQuery(question)) address.searchParams.append(name, value);
    const reply = await this.#parts.probe.call({
      method,
      url: address.href,
      body: method === 'GET' ? null : JSON.stringify(question),
      timeoutMs,
      signal: this.#stop.signal,
    });
    return reply.kind === 'answered' ? readProbeAnswer(reply) : notKnown(reply.detail);
  }

  async #retry(operation: StoredOperation): Promise<void> {
    try {
      const again = await this.#apply(operation.operationId, {
        kind: 'begin_try',
        strategy: 'retry',
        by: null,
        unitRandom: this.#parts.random.unit(),
      });
      if (!again.changed) return;
      this.#parts.onReopened(again.operation);
      this.#parts.onTry({ strategy: 'retry', outcome: 'run_again' });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const { code } = error;
      if (code !== 'deadline_passed' && code !== 'effect_unknown') throw error;
      await this.#leaveToPerson(operation, code);
    }
  }

  /** V4. */
  async #compensate(operation: StoredOperation): Promise<void> {
    const { operationId, app, principal, resource, attributes } = operation;
    const terms = onUnknownOf(operation);
    if (terms.strategy !== 'compensate') return;
    const begun = await this.#apply(operationId, {
      kind: 'begin_try',
      strategy: 'compensate',
      by: null,
      unitRandom: this.#parts.random.unit(),
    });
    if (!begun.changed) return;
    const { tries: number } = reconciliationOf(begun.operation);
    let undoing: StoredOperation;
    try {
      const admitted = await this.#parts.admissions.admit(
        { app, idempotencyKey: compensationKey(operationId), compensates: operationId },
        {
          principal,
          action: terms.action,
          ...(resource.id === '' ? {} : { resource }),
          attributes,
        },
      );
      undoing = admitted.operation;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code === 'outcome_unknown') throw error;
      const finding = notKnown(`${error.code}: ${error.message}`);
      const isFinal = !ERRORS[error.code].retryable;
      return this.#endTry(operationId, { strategy: 'compensate', number, finding, isFinal });
    }
    await this.#link(operationId, number, undoing);
  }

  async #link(operationId: string, number: number, undoing: StoredOperation): Promise<void> {
    const linked = await this.#apply(operationId, {
      kind: 'link_compensation',
      number,
      operationId: undoing.operationId,
    });
    if (linked.changed) this.#parts.onTry({ strategy: 'compensate', outcome: 'admitted' });
  }

  async #endTry(
    operationId: string,
    ended: { strategy: string; number: number; finding: ProbeFinding; isFinal: boolean },
  ): Promise<void> {
    const { strategy, number, finding, isFinal } = ended;
    await this.#apply(operationId, { kind: 'end_try', number, ...finding, isFinal });
    this.#parts.onTry({ strategy, outcome: finding.verdict });
  }

  async #leaveToPerson(operation: StoredOperation, reason: string): Promise<void> {
    const { operationId, app } = operation;
    const { strategy, lastTry } = reconciliationOf(operation);
    if (strategy === 'compensate' && lastTry !== null) {
      // The process may have ended between the admission of the compensation and its link.
      const undoing = await this.#parts.journal.operationByKey(app, compensationKey(operationId));
      if (undoing?.compensates === operationId)
        return this.#link(operationId, lastTry.number, undoing);
    }
    const left = await this.#apply(operationId, { kind: 'leave_to_person', reason });
    if (left.changed) this.#parts.onTry({ strategy, outcome: 'left_to_person' });
  }

  /** The next of those whose compensation is under way. */
  #watchCompensations(): void {
    const { journal } = this.#parts;
    const rows = journal.reader.reconciliations.compensating(
      this.#compensationsSeenSeq,
      COMPENSATIONS_LOOKED_AT_MAX,
    );
    const isAll = rows.length < COMPENSATIONS_LOOKED_AT_MAX;
    this.#compensationsSeenSeq = isAll ? 0 : (rows.at(-1)?.seq ?? 0);
    for (const { operation } of rows) {
      const { operationId } = operation;
      const { strategy, compensatedBy } = reconciliationOf(operation);
      if (strategy === 'human' || compensatedBy === null || this.#underWay.has(operationId))
        continue;
      const event = eventOfCompensation(compensatedBy, journal.operation(compensatedBy));
      if (event === null) continue;
      this.#begin(operationId, async () => {
        await this.#apply(operationId, event);
      });
    }
  }

  async #apply(operationId: string, event: ReconciliationEvent): Promise<Applied> {
    const applied = await this.#parts.executions.apply(operationId, null, event);
    if (applied.changed) {
      const { state, reason } = applied.operation;
      const { strategy, tries, leftToPerson } = reconciliationOf(applied.operation);
      this.#parts.logger.info(
        { operationId, event: event.kind, state, reason, strategy, tries, leftToPerson },
        'operation moved by the reconciler',
      );
    }
    return applied;
  }
}

const compensationKey = (operationId: string): string => `compensate:${operationId}`;

function eventOfCompensation(
  compensatedBy: string,
  undoing: StoredOperation | null,
): ReconciliationEvent | null {
  if (undoing === null) return { kind: 'leave_to_person', reason: 'compensation_gone' };
  const { state, outcome } = undoing;
  if (state === 'succeeded') {
    const provenance = outcome?.provenance ?? 'assumed';
    return { kind: 'compensated', operationId: compensatedBy, provenance };
  }
  if (state === 'failed' || state === 'cancelled' || state === 'expired')
    return { kind: 'leave_to_person', reason: `compensation_${state}` };
  return null;
}
