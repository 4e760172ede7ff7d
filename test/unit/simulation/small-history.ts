/**
 * A small history, told step by step, in which nothing is wrong: records and entries are made by the
 * same pure functions that make them in the daemons. What is wrong with it a test then writes into it.
 */
import { grantorEndMs } from '../../../shared/core/lease.ts';
import { compilePolicy, decide } from '../../../shared/core/policy.ts';
import type { ApprovalRequest } from '../../../shared/wire/approval.ts';
import type { Instant } from '../../../shared/core/time.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import { digestOf } from '../../../shared/platform/digest.ts';
import { eventHash } from '../../../shared/platform/entry-hash.ts';
import {
  FIRST_PREVIOUS_HASH,
  type AdmitRequest,
  type EventKind,
  type JournalEvent,
  type Outage,
  type Refusal,
} from '../../../shared/wire/operation.ts';
import type { PolicyDocument } from '../../../shared/wire/policy-document.ts';
import { newAdmission, storedAsAdmitted } from '../../../dataplane/core/new-admission.ts';
import { applyLifecycleEvent } from '../../../dataplane/core/operation-lifecycle.ts';
import type { LifecycleEvent, StoredOperation } from '../../../dataplane/core/operation-record.ts';
import type {
  CallEnd,
  CallRequest,
  EventDraft,
  FinalJournal,
  History,
  HistoryEvent,
  LeaseChange,
  MessagePurpose,
  NodeName,
} from '../../simulation/history.ts';

export const START_WALL_MS = 1_800_000_000_000;

export const TERMS = {
  seed: 1,
  hosts: ['host-1', 'host-2'],
  stretch: 1,
  safetyMs: 60_000,
  syncIntervalMs: 5_000,
  requestTimeoutMs: 5_000,
  freshTimeoutMs: 2_000,
  controlLossAfterMs: 10_000,
  leaseTtlMs: 30_000,
  lockDelayMs: 1_000,
  drift: 0.01,
} as const;

type Entry = Omit<JournalEvent, 'seq' | 'previousHash' | 'hash'>;
type HostFacts = {
  readonly entries: Entry[];
  readonly operations: Map<string, StoredOperation>;
  readonly refusals: Refusal[];
  readonly outages: Outage[];
  readonly fences: Record<string, number>;
  outageId: string | null;
};

export class SmallHistory {
  readonly #events: HistoryEvent[] = [];
  readonly #hosts = new Map<NodeName, HostFacts>();
  readonly #documents = new Map<number, PolicyDocument>();
  #atMs = 0;
  #ids = 0;
  readonly #boots = new Map<NodeName, number>();

  constructor() {
    for (const host of TERMS.hosts)
      this.#hosts.set(host, {
        entries: [],
        operations: new Map(),
        refusals: [],
        outages: [],
        fences: {},
        outageId: null,
      });
  }

  /** True time. */
  get atMs(): number {
    return this.#atMs;
  }

  pass(ms: number): void {
    this.#atMs += ms;
  }

  now(node: NodeName = 'control'): Instant {
    const boot = this.#boots.get(node) ?? 1;
    return {
      wallMs: START_WALL_MS + this.#atMs,
      bootMs: 1_000 + this.#atMs,
      bootId: `${node}-${boot}`,
    };
  }

  say(draft: EventDraft): HistoryEvent {
    const event = { ...draft, seq: this.#events.length, atMs: this.#atMs };
    this.#events.push(event);
    return event;
  }

  publish(policyRevision: number, document: PolicyDocument): void {
    this.#documents.set(policyRevision, document);
    const policyDigest = digestOf(document);
    this.say({
      kind: 'revision_published',
      policyRevision,
      policyDigest,
      document,
      clock: this.now(),
    });
  }

  started(node: NodeName, start: number, run: number | null = null): void {
    this.say({
      kind: 'daemon_started',
      node,
      start,
      clock: this.now(node),
      outcome: 'serving',
      detail: null,
      hostId: run === null ? `id-${node}` : null,
      run,
      journalSeq: 0,
    });
  }

  exchange(host: NodeName, purpose: MessagePurpose, tookMs = 20): void {
    const messageId = (this.#ids += 1);
    const [method, path] = ['POST', `/v1/${purpose}`];
    this.say({
      kind: 'message_sent',
      messageId,
      from: host,
      purpose,
      method,
      path,
      clock: this.now(host),
    });
    this.pass(tookMs / 2);
    this.say({ kind: 'message_arrived', messageId, at: 'control', isDuplicate: false });
    this.pass(tookMs / 2);
    this.say({
      kind: 'message_answered',
      messageId,
      status: 200,
      cause: null,
      clock: this.now(host),
    });
  }

  granted(
    host: NodeName,
    resource: string,
    epoch: number,
    change: LeaseChange = 'granted',
    before: {
      readonly epoch: number;
      readonly host: NodeName;
      readonly endsBootMs: number;
    } | null = null,
  ): void {
    const clock = this.now();
    const termMs = grantorEndMs(0, TERMS.leaseTtlMs, TERMS.drift);
    const record = {
      resource,
      epoch,
      state: 'held' as const,
      holder: { hostId: `id-${host}`, hostEpoch: 1 },
      run: 1,
      endsBootMs: clock.bootMs + termMs,
      termMs,
      grantedAtMs: clock.wallMs,
      renewedAtMs: clock.wallMs,
      transitions: 0,
      handover: null,
      version: 1,
    };
    const was =
      before === null
        ? null
        : {
            ...record,
            epoch: before.epoch,
            endsBootMs: before.endsBootMs,
            holder: { hostId: `id-${before.host}`, hostEpoch: 1 },
          };
    this.say({
      kind: 'lease_written',
      change,
      resource,
      epoch,
      host,
      before: was,
      after: record,
      clock,
    });
  }

  believes(host: NodeName, resource: string, epoch: number, remainingMs: number): void {
    const state = 'held' as const;
    const lease = { resource, state, epoch, remainingMs, reason: null, holder: null };
    this.say({ kind: 'leases_believed', host, clock: this.now(host), leases: [lease] });
  }

  state(host: NodeName, activeRevision: number, stalenessMs: number): void {
    const journalSeq = this.#facts(host).entries.length;
    this.say({
      kind: 'host_state',
      host,
      clock: this.now(host),
      hostId: `id-${host}`,
      activeRevision,
      stalenessMs,
      outageId: null,
      journalSeq,
      ackedSeq: journalSeq,
    });
  }

  /** The numbers of the two events. */
  call(
    to: NodeName,
    request: CallRequest,
    end: CallEnd,
    options: { readonly client?: string; readonly tookMs?: number } = {},
  ): [number, number] {
    const callId = (this.#ids += 1);
    const { client = 'app', tookMs = 10 } = options;
    const sent = this.say({ kind: 'call_sent', callId, client, to, request, repeats: null });
    this.pass(tookMs);
    const ended = this.say({ kind: 'call_ended', callId, clock: this.now(to), end });
    return [sent.seq, ended.seq];
  }

  /** Admitted under the revision, and answered; `before` happens while it is decided. */
  admit(
    host: NodeName,
    key: string,
    body: AdmitRequest,
    at: {
      readonly revision: number;
      readonly basis?: 'fresh' | 'cached';
      readonly stalenessMs: number;
      readonly leaseEpoch?: number;
    },
  ): StoredOperation {
    const { revision, basis = 'cached', stalenessMs, leaseEpoch } = at;
    const compiled = compilePolicy(this.#document(revision), compileCel);
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
    const decision = decide(compiled.policy, body);
    if (decision.terms === null || decision.decision === 'deny') throw new Error(decision.message);
    const callId = (this.#ids += 1);
    const request = { kind: 'admit', key, body } as const;
    this.say({ kind: 'call_sent', callId, client: 'app', to: host, request, repeats: null });
    if (basis === 'fresh') this.exchange(host, 'decision');
    const now = this.now(host);
    const operationId = `op-${(this.#ids += 1)}`;
    const by = {
      hostId: `id-${host}`,
      app: 'app',
      idempotencyKey: key,
      fingerprint: digestOf(body),
      approvalRequestId: `apr_${key.replaceAll('-', '')}`,
    };
    const ends = now.bootMs + 1_000;
    const plan = {
      kind: 'decided',
      decision,
      terms: decision.terms,
      basis: { basis, policyRevision: revision, stalenessMs, endsBootMs: ends },
    } as const;
    const ownership =
      leaseEpoch === undefined
        ? null
        : ({ owned: true, epoch: leaseEpoch, inGrace: false, endsBootMs: ends } as const);
    const { deadlineMs } = decision.terms;
    const admissible = {
      kind: 'admissible',
      ownership,
      deadlineMs,
      authorityEndsBootMs: ends,
    } as const;
    const admission = newAdmission(by, body, plan, admissible, now);
    const { outageId } = this.#facts(host);
    this.entry(host, 'admitted', { ...admission }, operationId);
    const operation = storedAsAdmitted(admission, { operationId, atMs: now.wallMs, outageId });
    this.#facts(host).operations.set(operationId, operation);
    if (operation.leaseResource !== null && leaseEpoch !== undefined)
      this.#fence(host, operation.leaseResource, leaseEpoch);
    this.pass(10);
    const status = operation.state === 'awaiting_approval' ? 202 : 201;
    this.say({
      kind: 'call_ended',
      callId,
      clock: this.now(host),
      end: { kind: 'ok', status, body: operation },
    });
    return operation;
  }

  apply(host: NodeName, operationId: string, event: LifecycleEvent): StoredOperation {
    const before = this.operation(host, operationId);
    const result = applyLifecycleEvent(before, event, this.now(host));
    if (!result.ok) throw new Error(`${result.code}: ${result.detail}`);
    if (result.note !== null)
      this.entry(host, result.note.kind, { ...result.note.body }, operationId);
    this.#facts(host).operations.set(operationId, result.operation);
    return result.operation;
  }

  entry(
    host: NodeName,
    kind: EventKind,
    body: Record<string, unknown>,
    operationId: string | null = null,
  ): number {
    const { entries, outageId } = this.#facts(host);
    entries.push({ atMs: this.now(host).wallMs, kind, operationId, outageId, body });
    if (kind === 'fence_advanced' || kind === 'register_written')
      this.#fence(host, String(body['resource']), Number(body['epoch']));
    return entries.length;
  }

  refuse(host: NodeName, refusal: Refusal): void {
    this.entry(host, 'refused', { refusal });
    this.#facts(host).refusals.push(refusal);
  }

  outage(host: NodeName, outage: Outage): void {
    const facts = this.#facts(host);
    const isOver = outage.toMs !== null;
    if (!isOver) facts.outageId = outage.outageId;
    this.entry(host, isOver ? 'outage_closed' : 'outage_opened', { outage });
    if (isOver) facts.outageId = null;
    const others = facts.outages.filter(({ outageId }) => outageId !== outage.outageId);
    facts.outages.splice(0, facts.outages.length, ...others, outage);
  }

  operationIds(host: NodeName): string[] {
    return [...this.#facts(host).operations.keys()];
  }

  operation(host: NodeName, operationId: string): StoredOperation {
    const operation = this.#facts(host).operations.get(operationId);
    if (operation === undefined) throw new Error(`no operation ${operationId}`);
    return operation;
  }

  reboot(node: NodeName): void {
    this.#boots.set(node, (this.#boots.get(node) ?? 1) + 1);
  }

  #document(revision: number): PolicyDocument {
    const document = this.#documents.get(revision);
    if (document === undefined) throw new Error(`revision ${revision} was not published`);
    return document;
  }

  #facts(host: NodeName): HostFacts {
    const facts = this.#hosts.get(host);
    if (facts === undefined) throw new Error(`no host ${host}`);
    return facts;
  }

  #fence(host: NodeName, resource: string, epoch: number): void {
    const { fences } = this.#facts(host);
    fences[resource] = Math.max(fences[resource] ?? 0, epoch);
  }

  end(): History {
    const journals = [...this.#hosts].map(([host, facts]) => journalOf(host, facts));
    return {
      terms: TERMS,
      events: this.#events,
      final: {
        journals,
        control: controlOf(journals),
        liveness: { isSettled: true, tookMs: 1_000, boundMs: 60_000, unsettled: [] },
      },
    };
  }
}

function journalOf(host: NodeName, facts: HostFacts): FinalJournal {
  let hash = FIRST_PREVIOUS_HASH;
  const events = facts.entries.map((entry, index): JournalEvent => {
    const previousHash = hash;
    const one = { seq: index + 1, ...entry, body: JSON.parse(JSON.stringify(entry.body)) };
    hash = eventHash(previousHash, one);
    return { ...one, previousHash, hash };
  });
  return {
    host,
    hostId: `id-${host}`,
    isGivenUp: false,
    damage: null,
    head: { seq: events.length, hash },
    ackedSeq: events.length,
    prunedSeq: 0,
    events,
    operations: [...facts.operations.values()],
    refusals: facts.refusals,
    fences: facts.fences,
    registers: [],
    outages: facts.outages,
  };
}

function controlOf(journals: readonly FinalJournal[]): History['final']['control'] {
  return {
    controlId: 'control',
    run: 1,
    highestEpoch: 100,
    leases: [],
    hosts: [],
    inForce: {},
    notices: [],
    revisions: [],
    operations: journals.flatMap(({ operations, events }) =>
      operations.map((operation) => ({
        ...operation,
        resourceId: operation.resource.id,
        lastSeq:
          events.findLast(({ operationId }) => operationId === operation.operationId)?.seq ?? 0,
      })),
    ),
    refusals: journals.flatMap(({ refusals, hostId }) =>
      refusals.map((one) => ({ ...one, hostId })),
    ),
    unreadable: [],
    outages: journals.flatMap(({ outages, hostId }) => outages.map((one) => ({ ...one, hostId }))),
    divergences: [],
    approvals: journals.flatMap(({ operations }) => operations.flatMap(requestOf)),
    audit: [],
    events: Object.fromEntries(
      journals.map(({ hostId, events }) => [
        hostId,
        events.map(({ seq, kind, hash, operationId }) => ({
          hostEpoch: 1,
          seq,
          kind,
          hash,
          operationId,
        })),
      ]),
    ),
  };
}

function requestOf({ approval, resource, ...operation }: StoredOperation): ApprovalRequest[] {
  if (approval === undefined) return [];
  const request = {
    ...operation,
    ...approval,
    hostEpoch: 1,
    resourceId: resource.id,
    payloadDigest: operation.fingerprint,
    receivedAtMs: approval.requestedAtMs,
    delivery: 'confirmed' as const,
    confirmedAtMs: approval.decidedAtMs,
  };
  return [request];
}
