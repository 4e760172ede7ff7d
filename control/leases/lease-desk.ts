/**
 * Takes the orders of operators, and of placement, about leases: each is decided on the record as it
 * is, written conditionally together with its entry in the audit trail, and decided again when a
 * sync was faster. What the holder and the target do about it comes with their syncs.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { ControlConfig } from '../config.ts';
import { classifyHost } from '../core/host-presence.ts';
import {
  orderCancel,
  orderRevoke,
  orderTransfer,
  type Declined,
  type Marked,
  type TransferOrder,
} from '../core/lease-orders.ts';
import type { LeaseRecord, Lessor as LessorTerms } from '../core/lease-transition.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { AuditDraft, HostRecord, HostStore, LeaseStore } from '../store/control-store.ts';
import type { AssignmentTable } from './assignment-table.ts';
import type { Lessor } from './lessor.ts';

type Ports = {
  readonly store: { readonly leases: LeaseStore; readonly hosts: HostStore };
  readonly lessor: Lessor;
  readonly assignments: AssignmentTable;
  readonly clock: Clock;
  readonly config: ControlConfig;
  readonly metrics: Metrics<ControlMetrics>;
};

/** A sync is faster now and then; so often in a row it is not. */
const TRIES_MAX = 8;

type Ordered = Pick<TransferOrder, 'by' | 'reason'>;

export class LeaseDesk {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** `to` is a host's name or id, and must be in contact: else nobody would own what it gets. */
  async transfer(
    resource: string,
    order: Omit<TransferOrder, 'toHostId'> & { readonly to: string },
  ): Promise<LeaseRecord> {
    const target = await this.#target(order.to);
    const { to: _to, ...rest } = order;
    return this.#order(resource, 'lease.transfer_ordered', order, (record, terms) =>
      orderTransfer(record, { ...rest, toHostId: target.hostId }, terms),
    );
  }

  async revoke(
    resource: string,
    order: Ordered & { readonly to: string | null },
  ): Promise<LeaseRecord> {
    const toHostId = order.to === null ? null : (await this.#target(order.to)).hostId;
    return this.#order(resource, 'lease.revoke_ordered', order, (record, terms) =>
      orderRevoke(record, { by: order.by, reason: order.reason, toHostId }, terms),
    );
  }

  cancel(resource: string, order: Ordered): Promise<LeaseRecord> {
    return this.#order(resource, 'lease.transfer_cancelled', order, orderCancel);
  }

  async #order(
    resource: string,
    action: string,
    { by, reason }: Ordered,
    decide: (record: LeaseRecord | undefined, terms: LessorTerms) => Marked | Declined,
  ): Promise<LeaseRecord> {
    const { store, lessor, metrics, assignments } = this.#ports;
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const terms = lessor.terms();
      const record = await store.leases.fetch(resource);
      const outcome = decide(record ?? undefined, terms);
      if (outcome.kind === 'declined') throw refused(resource, outcome.reason);
      const { epoch, holder, handover } = outcome.record;
      const detail = {
        epoch,
        holder: holder.hostId,
        to: (handover ?? record?.handover)?.toHostId ?? null,
        reason,
        ...(handover === null ? {} : { mode: handover.mode, timeoutMs: handover.timeoutMs }),
      };
      const audit: AuditDraft = {
        atMs: terms.now.wallMs,
        actor: by,
        action,
        target: resource,
        detail,
      };
      const replacesVersion = record?.version ?? null;
      const lease = { record: outcome.record, replacesVersion, isExtension: false };
      if ((await store.leases.change({ lease, audit })) === 'conflict') continue;
      metrics.add('holdfast_control_lease_orders_total', { order: action.replace('lease.', '') });
      assignments.ownersChanged();
      return outcome.record;
    }
    const detail = `the lease of ${resource} was changed by its syncs meanwhile: try again`;
    throw new HoldfastError('overloaded', detail, { retry_after_ms: 1_000 });
  }

  async #target(to: string): Promise<HostRecord> {
    const { store, clock, config } = this.#ports;
    const host = (await store.hosts.byName(to)) ?? (await store.hosts.fetch(to));
    if (host === null) {
      throw new HoldfastError('not_found', `there is no host ${to}; GET /v1/hosts lists them`);
    }
    const bounds = { lateAfterMs: config.hostLateAfterMs, lostAfterMs: config.hostLostAfterMs };
    const state = classifyHost(host.lastSyncAtMs, bounds, clock.now().wallMs);
    if (state === 'connected' || state === 'late') return host;
    throw new HoldfastError(
      'host_unavailable',
      `host ${host.hostName} is ${state}: what is handed over to it would be without an owner`,
    );
  }
}

function refused(resource: string, reason: Declined['reason']): HoldfastError {
  switch (reason) {
    case 'absent':
      return new HoldfastError(
        'not_found',
        `there never was a lease of ${resource}; GET /v1/leases lists those there are`,
      );
    case 'in_handover':
      return new HoldfastError(
        'handover_in_progress',
        `the lease of ${resource} is being handed over already: see it with GET /v1/leases, cancel it, or revoke it`,
      );
    case 'same_host':
      return new HoldfastError('invalid_request', `the target holds the lease of ${resource}`, {
        errors: [{ path: '/to', message: 'holds it already' }],
      });
    case 'not_held':
      return new HoldfastError('handover_absent', `nobody holds ${resource}: nothing to revoke`);
    case 'no_handover':
      return new HoldfastError('handover_absent', `${resource} is not being handed over`);
    case 'told':
      return new HoldfastError(
        'handover_in_progress',
        `the holder of ${resource} may have been told to stop: wait until it is free`,
      );
  }
}
