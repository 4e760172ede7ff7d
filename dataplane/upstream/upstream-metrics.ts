/** What the exchange with control counts; merged into the sidecar's one table of metrics. */
import type { Metrics, MetricTable } from '../../shared/platform/metrics.ts';

export const UPSTREAM_METRICS = {
  holdfast_control_connected: {
    kind: 'gauge',
    help: '1 when the last sync that control did not put off succeeded, else 0',
  },
  holdfast_sync_attempts_total: {
    kind: 'counter',
    help: 'Syncs with control, by outcome: ok, refused, overloaded, or the cause of the failure',
    labels: ['outcome'],
  },
  holdfast_last_sync_success_timestamp_seconds: {
    kind: 'gauge',
    help: 'Wall time of the last successful sync',
  },
  holdfast_policy_revision: { kind: 'gauge', help: 'Policy revision in force on this host' },
  holdfast_policy_confirmed_timestamp_seconds: {
    kind: 'gauge',
    help: 'Wall time of the sending of the last sync that confirmed the policy in force',
  },
  holdfast_policy_activations_total: {
    kind: 'counter',
    help: 'Policy revisions put in force, by where they came from',
    labels: ['source'],
  },
  holdfast_policy_rejections_total: {
    kind: 'counter',
    help: 'Bundles that were not put in force, by reason',
    labels: ['reason'],
  },
  holdfast_authority_revoked: {
    kind: 'gauge',
    help: '1 while control says that this host has no authority, else 0',
  },
  holdfast_leases_held: { kind: 'gauge', help: 'Leases that this host holds in time' },
  holdfast_leases_granted_total: { kind: 'counter', help: 'Leases newly granted to this host' },
  holdfast_lease_losses_total: {
    kind: 'counter',
    help: 'Leases that this host had and has no more, by reason',
    labels: ['reason'],
  },
  holdfast_clock_divergences_total: {
    kind: 'counter',
    help: 'Times that wall and boot clock moved apart: a suspend, a step, a restored machine',
  },
  holdfast_outages_total: {
    kind: 'counter',
    help: 'Outages of control as seen from this host, by cause',
    labels: ['cause'],
  },
  holdfast_outage_open: { kind: 'gauge', help: '1 while an outage is open, else 0' },
  holdfast_reports_sent_total: {
    kind: 'counter',
    help: 'Batches of journal entries that control acknowledged',
  },
  holdfast_report_failures_total: {
    kind: 'counter',
    help: 'Batches that control did not acknowledge, by reason',
    labels: ['reason'],
  },
  holdfast_reports_stopped: {
    kind: 'gauge',
    help: '1 when reporting stopped because control holds another history, else 0',
  },
  holdfast_approval_statements_total: {
    kind: 'counter',
    help: 'Words of control about approvals, by what became of them; control repeats each until it is confirmed',
    labels: ['outcome'],
  },
  holdfast_notices_in_force: {
    kind: 'gauge',
    help: 'Notices that this host obeys',
  },
  holdfast_notices_refused_total: {
    kind: 'counter',
    help: 'Words of control about notices that were not taken, by reason',
    labels: ['reason'],
  },
  holdfast_fresh_decisions_total: {
    kind: 'counter',
    help: 'Questions put to control for one request, by outcome',
    labels: ['outcome'],
  },
} as const satisfies MetricTable;

/** What this part needs of the sidecar's metrics. */
export type UpstreamMetrics = Pick<Metrics<typeof UPSTREAM_METRICS>, 'add' | 'set'>;
