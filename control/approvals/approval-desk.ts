/**
 * Approvals: shown to those who may give them, decided, signed, and told to the host until it says
 * what it made of them.
 */
import { explainDecision } from '../../shared/core/decision-trace.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import type { Signer } from '../../shared/platform/signatures.ts';
import {
  APPROVAL_STATEMENTS_MAX,
  SHOWN_PAYLOAD_LENGTH_MAX,
  type ApprovalDetail,
  type ApprovalOutcome,
  type ApprovalRequest,
  type ApprovalVerb,
  type ApprovalVerdictRequest,
  type RequestState,
} from '../../shared/wire/approval.ts';
import type { Operator } from '../../shared/wire/control-api.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { STATEMENT_TYPES } from '../../shared/wire/statements.ts';
import type { ControlConfig } from '../config.ts';
import {
  asOf,
  actorOf,
  judgeVerdict,
  wordAbout,
  type Verdict,
  type Voter,
} from '../core/approval.ts';
import { classifyHost } from '../core/host-presence.ts';
import { admittedInput } from '../core/replay-input.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { PolicyPublisher } from '../policy/policy-publisher.ts';
import type { ApprovalRecord } from '../store/approval-store.ts';
import type { AuditDraft, ControlStore, Page, PageRequest } from '../store/control-store.ts';

type Ports = {
  readonly store: ControlStore;
  readonly publisher: Pick<PolicyPublisher, 'compiled'>;
  readonly signer: Signer;
  readonly controlId: string;
  readonly clock: Clock;
  readonly config: Pick<ControlConfig, 'hostLateAfterMs' | 'hostLostAfterMs'>;
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
  /** That host is to sync: there is a word for it. */
  readonly call: (hostId: string) => void;
};

/** As often as another vote, or a report of the host, came between. */
const TRIES_MAX = 5;
/** What "recently" is, in operations: a page of what hosts have reported. */
const RECENT_OPERATIONS = 500;

export class ApprovalDesk {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  async list(state: RequestState | null, page: PageRequest): Promise<Page<ApprovalRequest>> {
    const { store, clock } = this.#ports;
    const nowMs = clock.now().wallMs;
    const { items, nextCursor } = await store.approvals.list({ state, nowMs }, page);
    return { items: items.map((request) => asOf(request, nowMs)), nextCursor };
  }

  async fetch(requestId: string): Promise<ApprovalDetail> {
    const { request } = await this.#read(requestId);
    const input = await this.#inputOf(request);
    const shown = await this.#wouldDecide(request, input);
    return {
      ...asOf(request, this.#ports.clock.now().wallMs),
      ...payloadOf(request, input),
      wouldDecide: shown,
      blastRadius: await this.#blastRadius(request),
    };
  }

  /** Throws what `judgeVerdict` refuses with. */
  async decide(
    requestId: string,
    verb: ApprovalVerb,
    asked: ApprovalVerdictRequest & { readonly operator: Operator },
  ): Promise<ApprovalRequest> {
    const { metrics } = this.#ports;
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const record = await this.#read(requestId);
      const verdict = await this.#judge(record.request, verb, asked);
      if (verdict.kind === 'refused') {
        metrics.add('holdfast_control_approval_verdicts_total', { verb, outcome: verdict.code });
        throw new HoldfastError(verdict.code, verdict.detail);
      }
      const written =
        verdict.kind === 'unchanged'
          ? record.request
          : await this.#write(record, verdict, { verb, ...asked });
      if (written === null) continue;
      metrics.add('holdfast_control_approval_verdicts_total', { verb, outcome: verdict.kind });
      return asOf(written, this.#ports.clock.now().wallMs);
    }
    throw new HoldfastError('overloaded', `request ${requestId} changes faster than it is read`, {
      retry_after_ms: 1_000,
    });
  }

  /** What this host has not confirmed, with each sync. */
  statementsFor(host: { readonly hostId: string; readonly hostEpoch: number }) {
    return this.#ports.store.approvals.undelivered(host, APPROVAL_STATEMENTS_MAX);
  }

  async #judge(
    request: ApprovalRequest,
    verb: ApprovalVerb,
    { operator, digest, reason }: ApprovalVerdictRequest & { readonly operator: Operator },
  ): Promise<Verdict> {
    const { store, clock } = this.#ports;
    const { operationId, hostId } = request;
    const operation = (await store.reports.operations([operationId])).get(operationId);
    const isWaiting = operation?.state === 'awaiting_approval' || operation?.state === 'accepted';
    return judgeVerdict(request, {
      verb,
      voter: await this.#voter(operator),
      digest,
      reason: reason.trim(),
      nowMs: clock.now().wallMs,
      hostEpoch: (await store.hosts.fetch(hostId))?.hostEpoch ?? 0,
      isUsed: !isWaiting || operation.attempt > 0,
    });
  }

  /** Their roles as an operator, and those that the newest policy gives to a person of that name. */
  async #voter({ name, roles }: Operator): Promise<Voter> {
    const { publisher, store } = this.#ports;
    const policy = await publisher.compiled(await store.policy.currentNumber());
    const given = ['user', 'operator'].flatMap((kind) => [
      ...(policy?.compiled.principals.get(`${kind}:${name}`) ?? []),
    ]);
    return { name, roles: new Set([...roles, ...given]) };
  }

  /** `null` where it was changed since it was read. */
  async #write(
    { version }: ApprovalRecord,
    { request, outcome }: Verdict & { kind: 'changed' },
    asked: ApprovalVerdictRequest & { readonly verb: ApprovalVerb; readonly operator: Operator },
  ): Promise<ApprovalRequest | null> {
    const { store, logger } = this.#ports;
    const statement = outcome === null ? {} : { statement: await this.#sign(request, outcome) };
    const write = { request, replacesVersion: version, ...statement };
    if ((await store.approvals.write(write, [this.#audited(request, asked)])) === 'conflict')
      return null;
    const { requestId, operationId, state } = request;
    const by = actorOf(asked.operator);
    logger.info({ requestId, operationId, state, by, verb: asked.verb }, 'approval: a verdict');
    if (outcome !== null) this.#ports.call(request.hostId);
    return request;
  }

  #sign(request: ApprovalRequest, outcome: ApprovalOutcome): Promise<string> {
    const { signer, controlId } = this.#ports;
    return signer.sign(STATEMENT_TYPES.approval, wordAbout(request, { outcome, controlId }));
  }

  #audited(
    request: ApprovalRequest,
    { verb, operator, reason }: { verb: ApprovalVerb; operator: Operator; reason: string },
  ): AuditDraft {
    const { requestId, operationId, state, payloadDigest, policyRevision, rule } = request;
    return {
      atMs: this.#ports.clock.now().wallMs,
      actor: actorOf(operator),
      action: `approval.${verb}`,
      target: requestId,
      detail: { operationId, state, reason, payloadDigest, policyRevision, rule },
    };
  }

  /** As the host reported its admission. */
  async #inputOf({ operationId }: ApprovalRequest): Promise<DecisionInput | null> {
    const [first] = await this.#ports.store.reports.eventsOf(operationId, 1);
    return first?.kind === 'admitted' ? admittedInput(first.body) : null;
  }

  async #wouldDecide(
    { showPayload }: ApprovalRequest,
    input: DecisionInput | null,
  ): Promise<ApprovalDetail['wouldDecide']> {
    const { store, publisher } = this.#ports;
    const policy = await publisher.compiled(await store.policy.currentNumber());
    if (input === null || policy === null) return null;
    const { decision, trace } = explainDecision(policy.compiled, input);
    return {
      policyRevision: policy.policyRevision,
      decision: decision.decision,
      rule: decision.rule,
      message: decision.message,
      // Values of variables are made of the payload.
      trace: showPayload ? trace : { ...trace, variables: [] },
    };
  }

  async #blastRadius(request: ApprovalRequest): Promise<ApprovalDetail['blastRadius']> {
    const { store, clock, config } = this.#ports;
    const { principal, action, hostId, resourceId, leaseResource } = request;
    const nowMs = clock.now().wallMs;
    const host = await store.hosts.fetch(hostId);
    const anyOf = { hostId: null, state: null };
    const page = { limit: RECENT_OPERATIONS, cursor: null };
    const { items } = await store.reports.listOperations(anyOf, page);
    const bounds = { lateAfterMs: config.hostLateAfterMs, lostAfterMs: config.hostLostAfterMs };
    return {
      resourceId,
      leaseResource,
      hostName: host?.hostName ?? null,
      hostState: classifyHost(host?.lastSyncAtMs ?? null, bounds, nowMs),
      sameActionRecently: items.filter(
        (each) => each.principal === principal && each.action === action,
      ).length,
      operationsLookedAt: items.length,
      waitingOfPrincipal: await store.approvals.countPending(nowMs, principal),
    };
  }

  async #read(requestId: string): Promise<ApprovalRecord> {
    const found = await this.#ports.store.approvals.fetch(requestId);
    if (found !== null) return found;
    const detail = `there is no request ${requestId}; GET /v1/approvals lists them`;
    throw new HoldfastError('not_found', detail);
  }
}

function payloadOf(
  { showPayload, rule }: ApprovalRequest,
  input: DecisionInput | null,
): Pick<ApprovalDetail, 'payload' | 'payloadMissing'> {
  const missing = (payloadMissing: string) => ({ payload: null, payloadMissing });
  if (!showPayload) return missing(`rule ${rule} does not say approval.showPayload`);
  if (input === null) return missing('its admission was not reported in full');
  const { length } = JSON.stringify(input);
  return length > SHOWN_PAYLOAD_LENGTH_MAX
    ? missing(`it has ${length} characters, and at most ${SHOWN_PAYLOAD_LENGTH_MAX} are shown`)
    : { payload: input, payloadMissing: null };
}
