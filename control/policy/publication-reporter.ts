/**
 * The report of a publication: what gets looser, what recent requests would meet, and which
 * accepted work the new document would refuse. It reads and decides in slices, so that syncs and
 * renewals do not wait for it.
 */
import { UNSAID } from '../../shared/core/admission.ts';
import {
  DecisionComparison,
  testSamples,
  type ComparedDecisions,
} from '../../shared/core/decision-comparison.ts';
import { comparePolicies, mayLoosen } from '../../shared/core/policy-comparison.ts';
import { decide, type CompiledPolicy, type OnRevoke } from '../../shared/core/policy.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import type {
  AffectedOperation,
  AffectedOperations,
  Impact,
  Loosening,
  PublicationReport,
} from '../../shared/wire/publication.ts';
import { publicationWarnings } from '../core/publication-warnings.ts';
import { admittedInput, refusedInput } from '../core/replay-input.ts';
import type { DecisionEvent, ReportStore, UnfinishedOperation } from '../store/control-store.ts';
import { Pacer } from './pacer.ts';

export const IMPACT_DECISIONS_MAX = 10_000;
const EXAMPLES_MAX = 20;
const CHANGES_MAX = 200;
const OPERATIONS_MAX = 10_000;
/** Few enough to be read and parsed within a slice. */
const PAGE = 50;

export type Compared = { readonly document: PolicyDocument; readonly compiled: CompiledPolicy };

export type ReportOptions = {
  /** How many recent decisions are replayed; 0 skips them, and accepted work too. */
  readonly decisions: number;
};

export class PublicationReporter {
  readonly #store: ReportStore;
  readonly #clock: Clock;

  constructor(ports: { readonly store: ReportStore; readonly clock: Clock }) {
    this.#store = ports.store;
    this.#clock = ports.clock;
  }

  async report(
    before: (Compared & { readonly policyRevision: number }) | null,
    after: Compared & { readonly warnings: readonly string[] },
    { decisions }: ReportOptions,
  ): Promise<PublicationReport> {
    const warnings = [
      ...after.warnings,
      ...publicationWarnings(before?.document ?? null, after.document),
    ];
    if (before === null) {
      return { comparedWith: null, warnings, loosening: null, impact: null, operations: null };
    }
    const pacer = new Pacer(this.#clock);
    const loosening = await this.#loosening(before, after, pacer);
    const isAsked = decisions > 0;
    const impact = isAsked ? await this.#impact(before, after, pacer, decisions) : null;
    const operations = isAsked ? await this.#operations(after, pacer) : null;
    if (impact !== null && impact.compared === 0) {
      warnings.push('no recent decisions could be replayed: nothing shows what it would change');
    }
    return { comparedWith: before.policyRevision, warnings, loosening, impact, operations };
  }

  async #loosening(before: Compared, after: Compared, pacer: Pacer): Promise<Loosening> {
    const changes = comparePolicies(before.document, after.document);
    await pacer.breathe();
    const comparison = this.#comparison(before, after);
    for (const sample of testSamples(before.document, after.document)) {
      comparison.add(sample);
      await pacer.breathe();
    }
    const tests = wireOf(comparison.result());
    const ofKind = (kind: string) => changes.filter((change) => change.kind === kind);
    const [looser, changed, tighter] = [ofKind('looser'), ofKind('changed'), ofKind('tighter')];
    return {
      mayLoosen: mayLoosen(changes) || tests.counts.deny_to_permit > 0,
      looser: looser.length,
      tighter: tighter.length,
      changed: changed.length,
      changes: [...looser, ...changed, ...tighter].slice(0, CHANGES_MAX),
      tests,
    };
  }

  async #impact(
    before: Compared,
    after: Compared,
    pacer: Pacer,
    decisions: number,
  ): Promise<Impact> {
    const comparison = this.#comparison(before, after);
    let [seen, notReplayable] = [0, 0];
    let fromMs: number | null = null;
    let toMs: number | null = null;
    let last: number | null = null;
    for (;;) {
      const limit = Math.min(PAGE, decisions - seen);
      const events: readonly DecisionEvent[] =
        limit === 0 ? [] : await this.#store.decisionEvents(limit, last);
      for (const { kind, operationId, body, receivedAtMs, place } of events) {
        const isAdmission = kind === 'admitted';
        const input = isAdmission ? admittedInput(body) : refusedInput(body);
        const refusal = body['refusal'] as { refusalId?: string } | undefined;
        const source = isAdmission
          ? `operation ${operationId ?? ''}`
          : `refusal ${refusal?.refusalId ?? ''}`;
        if (input === null) notReplayable += 1;
        else comparison.add({ source, input });
        toMs ??= receivedAtMs;
        fromMs = receivedAtMs;
        last = place;
        await pacer.breathe();
      }
      seen += events.length;
      if (events.length < limit || limit === 0) {
        const isAll = limit > 0 || (await this.#store.decisionEvents(1, last)).length === 0;
        return { ...wireOf(comparison.result()), notReplayable, fromMs, toMs, isAll };
      }
    }
  }

  /** Accepted work goes on under what it was accepted with; its rule says what a withdrawal does. */
  async #operations(after: Compared, pacer: Pacer): Promise<AffectedOperations> {
    const examples = { abort: [], pause: [], finish: [] } as Record<OnRevoke, AffectedOperation[]>;
    const byOnRevoke = { abort: 0, pause: 0, finish: 0 };
    let [unfinished, refused, notReplayable, isAll] = [0, 0, 0, true];
    const take = ({ operation, body }: UnfinishedOperation): void => {
      unfinished += 1;
      const input = body === null ? null : admittedInput(body);
      if (input === null) {
        notReplayable += 1;
        return;
      }
      const { decision, reason, message } = decide(after.compiled, input);
      if (decision === 'permit') return;
      refused += 1;
      // As it was written into the operation: a later revision of the rule changes nothing of it.
      const onRevoke = (body?.['onRevoke'] as OnRevoke | undefined) ?? UNSAID.onRevoke;
      byOnRevoke[onRevoke] += 1;
      if (examples[onRevoke].length >= EXAMPLES_MAX) return;
      const { operationId, hostId, action, principal, state } = operation;
      examples[onRevoke].push({
        operationId,
        hostId,
        action,
        principal,
        state,
        rule: operation.rule,
        onRevoke,
        reason,
        message,
      });
    };
    for (const state of ['executing', 'accepted', 'awaiting_approval', 'paused'] as const) {
      let last: string | null = null;
      for (;;) {
        const page: readonly UnfinishedOperation[] = await this.#store.unfinished(
          state,
          PAGE,
          last,
        );
        for (const one of page) {
          take(one);
          last = one.operation.operationId;
          await pacer.breathe();
        }
        if (page.length < PAGE) break;
        if (unfinished >= OPERATIONS_MAX) {
          isAll = false;
          break;
        }
      }
    }
    const listed = [...examples.abort, ...examples.pause, ...examples.finish];
    return { unfinished, refused, notReplayable, isAll, byOnRevoke, examples: listed };
  }

  #comparison(before: Compared, after: Compared): DecisionComparison {
    return new DecisionComparison({
      before: before.compiled,
      after: after.compiled,
      examplesMax: EXAMPLES_MAX,
    });
  }
}

function wireOf({ compared, same, counts, examples }: ComparedDecisions) {
  return { compared, same, counts: { ...counts }, examples: [...examples] };
}
