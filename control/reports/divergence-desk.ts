/** Divergences for people: listed, explained, settled. */
import { UNSAID } from '../../shared/core/admission.ts';
import { explainDecision } from '../../shared/core/decision-trace.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { DecisionTrace } from '../../shared/wire/decision-trace.ts';
import type {
  Divergence,
  DivergenceDetail,
  Divergences,
  ResolutionVerdict,
} from '../../shared/wire/divergences.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { settleDivergence, type Work } from '../core/divergence-resolution.ts';
import { admittedInput } from '../core/replay-input.ts';
import type { PolicyPublisher } from '../policy/policy-publisher.ts';
import type { ControlStore, PageRequest } from '../store/control-store.ts';
import type { DivergenceFilter } from '../store/divergence-store.ts';
import type { DivergenceFinder } from './divergence-finder.ts';
import type { StopOrders } from './stop-orders.ts';

type Ports = {
  readonly store: ControlStore;
  readonly publisher: PolicyPublisher;
  readonly finder: DivergenceFinder;
  readonly stops: StopOrders;
  readonly clock: Clock;
};

const TRIES_MAX = 4;

export class DivergenceDesk {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  async list(filter: DivergenceFilter, page: PageRequest): Promise<Divergences> {
    const { store, finder } = this.#ports;
    const { items, nextCursor } = await store.divergences.list(filter, page);
    return { items: [...items], nextCursor, reevaluation: await finder.progress() };
  }

  /** With how both decisions came about, made again from the record's own input. */
  async show(divergenceId: string): Promise<DivergenceDetail> {
    const divergence = await this.#find(divergenceId);
    const { operationId } = divergence;
    const state = operationId === null ? null : ((await this.#work(operationId))?.state ?? null);
    const input = operationId === null ? null : await this.#inputOf(operationId);
    const base = { ...divergence, operationState: state };
    if (input === null) {
      const traceMissing =
        operationId === null
          ? 'a refusal is told in its message'
          : 'the admission does not say what it was decided on';
      return { ...base, decidedTrace: null, currentTrace: null, traceMissing };
    }
    const { decided, current } = divergence;
    return {
      ...base,
      decidedTrace: await this.#trace(decided.policyRevision, input),
      currentTrace: await this.#trace(current.policyRevision, input),
      traceMissing: null,
    };
  }

  /** `not_found`, `divergence_settled`, or `invalid_request` where there is nothing to revoke. */
  async resolve(
    divergenceId: string,
    said: { verdict: ResolutionVerdict; reason: string; by: string },
  ): Promise<Divergence> {
    const { store, clock, stops } = this.#ports;
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const replaces = await this.#find(divergenceId);
      const { operationId, hostId } = replaces;
      const work = operationId === null ? null : await this.#work(operationId);
      const atMs = clock.now().wallMs;
      const settled = settleDivergence(replaces, said, work, atMs);
      if (settled.kind === 'unchanged') return replaces;
      if (settled.kind === 'refused') throw refusalOf(settled.why, replaces);
      const record = settled.divergence;
      const { verdict, reason, by } = said;
      const stop = record.resolution?.stop ?? null;
      const outcome = await store.divergences.settle({
        record,
        replaces,
        audit: [
          {
            atMs,
            actor: by,
            action: `divergence.${verdict}`,
            target: `divergence/${divergenceId}`,
            detail: {
              hostId,
              operationId,
              kind: record.kind,
              reason,
              stop,
              provenance: 'asserted',
            },
          },
        ],
      });
      if (outcome === 'conflict') continue;
      stops.add(record);
      return record;
    }
    throw new HoldfastError('overloaded', `divergence ${divergenceId} changes all the time`, {
      retry_after_ms: 1_000,
    });
  }

  async #find(divergenceId: string): Promise<Divergence> {
    const divergence = await this.#ports.store.divergences.fetch(divergenceId);
    if (divergence !== null) return divergence;
    throw new HoldfastError(
      'not_found',
      `there is no divergence ${divergenceId}; GET /v1/divergences lists them`,
    );
  }

  async #work(operationId: string): Promise<Work | null> {
    const { reports } = this.#ports.store;
    const operation = (await reports.operations([operationId])).get(operationId);
    if (operation === undefined) return null;
    const [admitted] = await reports.eventsOf(operationId, 1);
    const said = admitted?.body['onRevoke'];
    return { state: operation.state, onRevoke: (said as Work['onRevoke']) ?? UNSAID.onRevoke };
  }

  async #inputOf(operationId: string): Promise<DecisionInput | null> {
    const [admitted] = await this.#ports.store.reports.eventsOf(operationId, 1);
    return admitted?.kind === 'admitted' ? admittedInput(admitted.body) : null;
  }

  async #trace(policyRevision: number | null, input: DecisionInput): Promise<DecisionTrace | null> {
    if (policyRevision === null) return null;
    const policy = await this.#ports.publisher.revision(policyRevision);
    return policy === null ? null : explainDecision(policy.compiled, input).trace;
  }
}

function refusalOf(
  why: 'settled' | 'nothing_to_revoke',
  { divergenceId, resolution, refusalId }: Divergence,
): HoldfastError {
  if (why === 'settled') {
    return new HoldfastError(
      'divergence_settled',
      `divergence ${divergenceId} was ${resolution?.verdict ?? 'settled'} by ${resolution?.by ?? ''}: what was said stays`,
    );
  }
  return new HoldfastError(
    'invalid_request',
    `divergence ${divergenceId} is about refusal ${refusalId ?? ''}, and there is nothing to revoke: accept or compensate it`,
    { errors: [{ path: '/verdict', message: 'must be accepted or compensated here' }] },
  );
}
