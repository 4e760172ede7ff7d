/** Authority that a test sets by hand, in place of what the sidecar gets from control. */
import { assert } from '../../shared/core/assert.ts';
import type { HeldLease } from '../../shared/core/lease.ts';
import { compilePolicy, type CompiledPolicy } from '../../shared/core/policy.ts';
import type { Instant } from '../../shared/core/time.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import { digestOf } from '../../shared/platform/digest.ts';
import type { Outage } from '../../shared/wire/operation.ts';
import type { DecisionInput, PolicyDocument } from '../../shared/wire/policy-document.ts';
import type { ActivePolicy } from '../../dataplane/core/active-policy.ts';
import type {
  FreshAnswer,
  FreshAuthority,
  LeaseAuthority,
  LeaseStatus,
  OutageAuthority,
  PolicyAuthority,
  RevisionArchive,
} from '../../dataplane/authority/authority-view.ts';
import { FakeNotices } from './fake-notices.ts';

export const TEST_POLICY: PolicyDocument = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  defaults: { maxStaleness: '15m', deadline: '10m', maxDeadline: '1h' },
  principals: { 'agent:billing': { roles: ['agent'] }, 'user:root': { roles: ['operator'] } },
  rules: [
    {
      name: 'capture',
      actions: ['payments.capture'],
      permit: [{ expression: 'attributes.amount <= 500', message: 'at most 500' }],
      maxStaleness: '5m',
      ownership: { lease: 'orders/{resource.attributes.shard}', mode: 'fenced', grace: '2m' },
      effects: { charge: { fencing: 'enforced' } },
    },
    {
      name: 'notify',
      actions: ['notifications.*'],
      permit: [{ expression: '"agent" in principal.roles' }],
      onWorkerLoss: 'retry',
      effects: { send: { idempotent: true }, log: {} },
    },
    {
      name: 'refund',
      actions: ['payments.refund'],
      permit: [{ expression: 'attributes.amount <= 100' }],
      freshness: 'fresh',
    },
    {
      name: 'report',
      actions: ['reports.build'],
      permit: [{ expression: 'true' }],
      onControlLoss: 'pause',
    },
    {
      name: 'sweep',
      actions: ['sweeps.run'],
      permit: [{ expression: 'true' }],
      onControlLoss: 'abort',
    },
  ],
};

export function activePolicy(document: PolicyDocument, policyRevision = 1): ActivePolicy {
  const result = compilePolicy(document, compileCel);
  assert(result.ok, 'the test policy compiles');
  return {
    policyRevision,
    policyDigest: digestOf(document),
    activatedAtMs: 0,
    document,
    compiled: result.policy,
  };
}

export class FakeAuthority implements PolicyAuthority, RevisionArchive, FreshAuthority {
  readonly notices = new FakeNotices();
  active: ActivePolicy | null = activePolicy(TEST_POLICY);
  staleness: number | null = 1_000;
  revocation: { reason: string } | null = null;
  freshAnswer: (input: DecisionInput) => Promise<FreshAnswer> = () =>
    Promise.resolve({ ok: false, reason: 'control_unreachable', detail: 'no answer' });
  outage: Outage | null = null;
  outOfReach: number | null = null;
  approvalsServed = true;
  readonly held = new Map<string, HeldLease>();
  readonly #listeners: (() => void)[] = [];
  /** Earlier revisions. */
  readonly kept: ActivePolicy[] = [];
  readonly wanted: string[] = [];
  unfinished: ReadonlyMap<string, number> = new Map();
  readonly noted: { resource: string; epoch: number }[] = [];

  activePolicy(): ActivePolicy | null {
    return this.active;
  }

  rejectedPolicy(): null {
    return null;
  }

  stalenessMs(): number | null {
    return this.staleness;
  }

  revoked(): { reason: string } | null {
    return this.revocation;
  }

  find(policyRevision: number): Promise<CompiledPolicy | null> {
    const found = [this.active, ...this.kept].find(
      (each) => each?.policyRevision === policyRevision,
    );
    return Promise.resolve(found?.compiled ?? null);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** As the keeper says it, once the test has set something. */
  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  decide(input: DecisionInput): Promise<FreshAnswer> {
    return this.freshAnswer(input);
  }

  hold(resource: string, epoch: number, now: Instant, lastsMs = 30_000): void {
    this.held.set(resource, {
      resource,
      epoch,
      bootId: now.bootId,
      endsBootMs: now.bootMs + lastsMs,
    });
  }

  readonly leases: LeaseAuthority = {
    lease: (resource) => this.held.get(resource),
    statuses: () =>
      [...this.held.values()].map((lease): LeaseStatus => ({
        resource: lease.resource,
        lease,
        reason: null,
        holder: null,
      })),
    want: (resource) => void this.wanted.push(resource),
    noteEpoch: (seen) => void this.noted.push(seen),
    draining: () =>
      [...this.held.values()].filter(({ drainEndsBootMs }) => drainEndsBootMs !== undefined),
    noteUnfinished: (unfinished) => {
      this.unfinished = unfinished;
    },
    release: (resource) => void this.held.delete(resource),
    settled: (resource) =>
      Promise.resolve({
        resource,
        lease: this.held.get(resource) ?? null,
        reason: null,
        holder: null,
      }),
  };

  readonly outages: OutageAuthority = {
    current: () => this.outage,
    outageId: () => this.outage?.outageId ?? null,
    outOfReachMs: () => this.outOfReach,
  };
}
