/**
 * What operators' programs (the `holdfast` command is one) use to talk to control. Apps do not need
 * it: they talk to the sidecar of their host, which goes on when control is away.
 *
 * Reading is safe to repeat. Publishing carries the revision it replaces, so repeating it after an
 * `UnreachableError` either publishes once or answers `revision_conflict`: read the policy again
 * then.
 */
import type {
  AuditEntry,
  ControlLease,
  Host,
  JoinToken,
  Operator,
  OperatorRole,
  OperatorToken,
  PolicyRevision,
  PublishAnswer,
  PublishedPolicy,
  ReportedOperation,
  ReportedOperationDetail,
  ReportedOutage,
  ReportedRefusal,
  RereadAnswer,
  RevokeRequest,
  TransferRequest,
  UnreadableEvent,
} from '../wire/control-api.ts';
import type { FleetOutage, FleetOutageDetail, FleetOutagesQuery } from '../wire/fleet-outages.ts';
import type { Allotment } from '../wire/allotments.ts';
import type { PolicyDecision } from '../wire/decision.ts';
import type { DecisionInput } from '../wire/policy-document.ts';
import type { FleetHealth } from '../wire/fleet-health.ts';
import type { Health } from '../wire/health.ts';
import type { OperationState } from '../wire/operation.ts';
import type { Proposal, ProposalDetail, RolloutMode } from '../wire/publication.ts';
import type { FleetHost, RolloutStatus } from '../wire/rollout.ts';
import { DivergenceClient } from './divergence-client.ts';
import { ApprovalClient } from './approval-client.ts';
import { NoticeClient } from './notice-client.ts';
import { JsonCaller, parseEndpoint } from './json-caller.ts';
import { PlacementClient } from './placement-client.ts';
import type { Page } from './sidecar-client.ts';
import { UndiciTransport, type Transport } from './transport.ts';

export type ControlClientOptions = {
  readonly transport: Transport;
  readonly token: () => string | null;
  /** Of one request. */
  readonly timeoutMs: number;
};

export type ControlAddress = {
  /** `https://control.example:7480`. */
  readonly endpoint: string;
  readonly token: string | (() => string | null);
  readonly timeoutMs?: number;
};

export type PageQuery = { readonly limit?: number; readonly cursor?: string };

export type PublishOptions = {
  readonly format: 'json' | 'yaml';
  /**
   * The revision that this one replaces; `null` for the first. Anything else is a
   * `revision_conflict`.
   */
  readonly replaces: number | null;
  /** Checks everything and publishes nothing. */
  readonly isDryRun?: boolean;
  readonly comment?: string;
  /** By stages or to all hosts; default as control is configured. */
  readonly rollout?: RolloutMode;
  /** `false`: recent decisions are not replayed for the report. */
  readonly impact?: boolean;
};

export type RolloutOrder = 'promote' | 'pause' | 'resume' | 'halt';

const TIMEOUT_MS = 10_000;

export function openControl(address: ControlAddress): ControlClient {
  const target = parseEndpoint(address.endpoint);
  if (target === null) {
    throw new TypeError(
      `${address.endpoint} is not an address of control: use http://host:port or https://host:port`,
    );
  }
  const { token } = address;
  return new ControlClient({
    transport: new UndiciTransport(target),
    token: typeof token === 'function' ? token : () => token,
    timeoutMs: address.timeoutMs ?? TIMEOUT_MS,
  });
}

export class ControlClient {
  readonly #caller: JsonCaller;
  readonly placement: PlacementClient;
  readonly divergences: DivergenceClient;
  readonly approvals: ApprovalClient;
  readonly notices: NoticeClient;

  constructor(options: ControlClientOptions) {
    this.#caller = new JsonCaller({ ...options, headers: {} });
    this.placement = new PlacementClient(this.#caller);
    this.divergences = new DivergenceClient(this.#caller);
    this.approvals = new ApprovalClient(this.#caller);
    this.notices = new NoticeClient(this.#caller);
  }

  /** The policy in force. `not_found` where none was ever published. */
  policy(): Promise<PublishedPolicy> {
    return this.#get('/v1/policy');
  }

  policyRevision(policyRevision: number): Promise<PublishedPolicy> {
    return this.#get(`/v1/policy/revisions/${policyRevision}`);
  }

  policyRevisions(query: PageQuery = {}): Promise<Page<PolicyRevision>> {
    return this.#get('/v1/policy/revisions', query);
  }

  /**
   * Publishes a document as it stands, byte for byte; `policy_invalid` lists everything wrong with
   * it.
   */
  publishPolicy(document: string, options: PublishOptions): Promise<PublishAnswer> {
    return this.#caller.body({
      method: 'PUT',
      path: '/v1/policy',
      query: publicationQuery(options),
      headers: {
        ...(options.replaces === null
          ? { 'if-none-match': '*' }
          : { 'if-match': `"${options.replaces}"` }),
        ...(options.comment === undefined ? {} : { 'holdfast-comment': options.comment }),
      },
      text: { contentType: `application/${options.format}`, data: document },
    });
  }

  /** The document of an earlier revision as a new one, after what is in force. */
  rollBackPolicy(
    toRevision: number,
    options: Omit<PublishOptions, 'format' | 'replaces'> & { readonly replaces: number },
  ): Promise<PublishAnswer> {
    const { comment } = options;
    return this.#caller.body({
      method: 'POST',
      path: '/v1/policy:rollback',
      query: publicationQuery(options),
      headers: { 'if-match': `"${options.replaces}"` },
      body: { toRevision, ...(comment === undefined ? {} : { comment }) },
    });
  }

  /** The newest roll-out by stages. `not_found` where there never was one. */
  rollout(): Promise<RolloutStatus> {
    return this.#get('/v1/policy/rollout');
  }

  /** `rollout_ended` where it does not take that step any more. */
  orderRollout(
    order: RolloutOrder,
    options: {
      readonly policyRevision?: number;
      readonly reason?: string;
      readonly all?: boolean;
    } = {},
  ): Promise<RolloutStatus> {
    const { policyRevision, ...body } = options;
    return this.#caller.body({
      method: 'POST',
      path: `/v1/policy/rollout:${order}`,
      headers: policyRevision === undefined ? {} : { 'if-match': `"${policyRevision}"` },
      body,
    });
  }

  proposals(query: PageQuery = {}): Promise<Page<Proposal>> {
    return this.#get('/v1/policy/proposals', query);
  }

  proposal(proposalId: string): Promise<ProposalDetail> {
    return this.#get(`/v1/policy/proposals/${encodeURIComponent(proposalId)}`);
  }

  /** What is approved is the document of that digest. */
  approveProposal(proposalId: string, policyDigest: string): Promise<PublishAnswer> {
    return this.#caller.body({
      method: 'POST',
      path: `/v1/policy/proposals/${encodeURIComponent(proposalId)}:approve`,
      headers: { 'if-match': `"${policyDigest}"` },
    });
  }

  /** Others reject, its proposer withdraws. */
  declineProposal(
    proposalId: string,
    verb: 'reject' | 'withdraw',
    reason?: string,
  ): Promise<Proposal> {
    return this.#caller.body({
      method: 'POST',
      path: `/v1/policy/proposals/${encodeURIComponent(proposalId)}:${verb}`,
      body: reason === undefined ? {} : { reason },
    });
  }

  /** Which host runs which revision, and why it does not run its target. */
  fleet(query: PageQuery = {}): Promise<Page<FleetHost>> {
    return this.#get('/v1/fleet', query);
  }

  /** What the revision in force, or another one, decides about a request; nothing comes of it. */
  decidePolicy(
    input: DecisionInput,
    options: { readonly revision?: number; readonly isExplained?: boolean } = {},
  ): Promise<PolicyDecision> {
    return this.#caller.body({
      method: 'POST',
      path: '/v1/policy:decide',
      query: {
        revision: options.revision,
        explain: options.isExplained === true ? 'true' : undefined,
      },
      body: input,
    });
  }

  /** A one-time token with which one host enrols. It is shown only here. */
  createJoinToken(request: {
    readonly hostName: string;
    readonly ttl?: string;
  }): Promise<JoinToken> {
    return this.#caller.body({ method: 'POST', path: '/v1/join-tokens', body: request });
  }

  hosts(query: PageQuery = {}): Promise<Page<Host>> {
    return this.#get('/v1/hosts', query);
  }

  host(hostId: string): Promise<Host> {
    return this.#get(`/v1/hosts/${encodeURIComponent(hostId)}`);
  }

  leases(query: PageQuery = {}): Promise<Page<ControlLease>> {
    return this.#get('/v1/leases', query);
  }

  lease(resource: string): Promise<ControlLease> {
    return this.#get(leasePath(resource));
  }

  /**
   * Marks the lease: its holder drains it first. `handover_in_progress`, `host_unavailable`, or
   * `not_found` where it cannot be.
   */
  transferLease(resource: string, request: TransferRequest): Promise<ControlLease> {
    return this.#post(`${leasePath(resource)}:transfer`, request);
  }

  /** Its holder is told to stop with its next sync, and is not renewed. */
  revokeLease(resource: string, request: RevokeRequest = {}): Promise<ControlLease> {
    return this.#post(`${leasePath(resource)}:revoke`, request);
  }

  cancelTransfer(resource: string, request: { reason?: string } = {}): Promise<ControlLease> {
    return this.#post(`${leasePath(resource)}:cancel-transfer`, request);
  }

  /** Parts of fleet budgets that hosts hold. */
  allotments(query: PageQuery = {}): Promise<Page<Allotment>> {
    return this.#get('/v1/allotments', query);
  }

  /** As the hosts have reported them: an operation may be further on than control knows. */
  operations(
    query: PageQuery & { readonly host?: string; readonly state?: OperationState } = {},
  ): Promise<Page<ReportedOperation>> {
    return this.#get('/v1/operations', query);
  }

  operation(operationId: string): Promise<ReportedOperationDetail> {
    return this.#get(`/v1/operations/${encodeURIComponent(operationId)}`);
  }

  refusals(query: PageQuery = {}): Promise<Page<ReportedRefusal>> {
    return this.#get('/v1/refusals', query);
  }

  /** As hosts have reported them. */
  outages(query: PageQuery = {}): Promise<Page<ReportedOutage>> {
    return this.#get('/v1/outages', { ...query, seenBy: 'host' });
  }

  /** Also those that control has seen by itself. */
  fleetOutages(query: FleetOutagesQuery = {}): Promise<Page<FleetOutage>> {
    const { open, ...rest } = query;
    return this.#get('/v1/outages', {
      ...rest,
      ...(open === undefined ? {} : { open: `${open}` }),
    });
  }

  fleetOutage(outageId: string, hostId?: string): Promise<FleetOutageDetail> {
    const query = hostId === undefined ? {} : { host: hostId };
    return this.#get(`/v1/outages/${encodeURIComponent(outageId)}`, query);
  }

  unreadableEvents(query: PageQuery = {}): Promise<Page<UnreadableEvent>> {
    return this.#get('/v1/unreadable-events', query);
  }

  /** Go on with `nextCursor` until it is `null`. */
  rereadEvents(cursor?: string): Promise<RereadAnswer> {
    const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}`;
    return this.#caller.body({ method: 'POST', path: `/v1/unreadable-events:reread${query}` });
  }

  audit(query: PageQuery = {}): Promise<Page<AuditEntry>> {
    return this.#get('/v1/audit', query);
  }

  async operators(): Promise<readonly Operator[]> {
    return (await this.#get<{ items: Operator[] }>('/v1/operators')).items;
  }

  /** The token in the answer is shown only here. */
  addOperator(request: {
    readonly name: string;
    readonly roles: readonly OperatorRole[];
  }): Promise<OperatorToken> {
    return this.#caller.body({ method: 'POST', path: '/v1/operators', body: request });
  }

  async removeOperator(name: string): Promise<void> {
    await this.#caller.call({
      method: 'DELETE',
      path: `/v1/operators/${encodeURIComponent(name)}`,
    });
  }

  health(): Promise<Health> {
    return this.#get('/v1/health');
  }

  /** Of all hosts together. */
  fleetHealth(): Promise<FleetHealth> {
    return this.#get('/v1/health/fleet');
  }

  async close(): Promise<void> {
    await this.#caller.close();
  }

  #post<T>(path: string, body: unknown): Promise<T> {
    return this.#caller.body<T>({ method: 'POST', path, body });
  }

  #get<T>(
    path: string,
    query: Readonly<Record<string, string | number | undefined>> = {},
  ): Promise<T> {
    return this.#caller.body<T>({ method: 'GET', path, query });
  }
}

const leasePath = (resource: string): string => `/v1/leases/${encodeURIComponent(resource)}`;

function publicationQuery(options: Pick<PublishOptions, 'isDryRun' | 'rollout' | 'impact'>) {
  return {
    dryRun: options.isDryRun === true ? 'true' : undefined,
    rollout: options.rollout,
    impact: options.impact === false ? 'false' : undefined,
  };
}
