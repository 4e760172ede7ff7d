import type { MetricTable } from '../shared/platform/metrics.ts';

/** Every metric of control. No label ever carries a host, a principal or a resource. */
export const CONTROL_METRICS = {
  holdfast_build_info: {
    kind: 'gauge',
    help: 'Always 1; the labels say which build runs',
    labels: ['daemon', 'version'],
  },
  holdfast_control_policy_revision: {
    kind: 'gauge',
    help: 'Newest published policy revision; 0 before the first',
  },
  holdfast_control_publishes_total: {
    kind: 'counter',
    help: 'Attempts to publish a policy, by outcome',
    labels: ['outcome'],
  },
  holdfast_control_rollout_halts_total: {
    kind: 'counter',
    help: 'Roll-outs that were halted, by cause',
    labels: ['cause'],
  },
  holdfast_control_rollout_state: {
    kind: 'gauge',
    help: '1 for the state of the newest roll-out',
    labels: ['state'],
  },
  holdfast_control_rollout_stage: {
    kind: 'gauge',
    help: 'Stage of the roll-out under way, from 1; 0 where none is',
  },
  holdfast_control_proposals_open: {
    kind: 'gauge',
    help: 'Publications that wait for a second person',
  },
  holdfast_control_bundle_waiters: {
    kind: 'gauge',
    help: 'Hosts that wait for a new bundle',
  },
  holdfast_control_hosts: {
    kind: 'gauge',
    help: 'Enrolled hosts, by what the time since their last sync says',
    labels: ['state'],
  },
  holdfast_control_hosts_behind: {
    kind: 'gauge',
    help: 'Hosts that run another policy revision than the newest',
  },
  holdfast_control_enrolments_total: {
    kind: 'counter',
    help: 'Enrolments, by outcome',
    labels: ['outcome'],
  },
  holdfast_control_syncs_total: {
    kind: 'counter',
    help: 'Syncs of hosts, by outcome',
    labels: ['outcome'],
  },
  holdfast_control_reconnects_total: {
    kind: 'counter',
    help: 'Hosts out of contact that were taken back, by whether a lease of theirs was about to end',
    labels: ['as'],
  },
  holdfast_control_deferrals_total: {
    kind: 'counter',
    help: 'Requests of hosts that were told to come later, by what they asked for',
    labels: ['request'],
  },
  holdfast_control_reconnect_wait_seconds: {
    kind: 'gauge',
    help: 'How far ahead the places reach that hosts were told to come back in',
  },
  holdfast_control_host_requests_rejected_total: {
    kind: 'counter',
    help: 'Requests of hosts whose token was refused, by reason',
    labels: ['reason'],
  },
  holdfast_control_leases: {
    kind: 'gauge',
    help: 'Leases, by state',
    labels: ['state'],
  },
  holdfast_control_lease_transitions_total: {
    kind: 'counter',
    help: 'What syncs did to leases',
    labels: ['transition'],
  },
  holdfast_control_lease_orders_total: {
    kind: 'counter',
    help: 'Orders of operators and of placement about leases',
    labels: ['order'],
  },
  holdfast_control_placement_shards: {
    kind: 'gauge',
    help: 'Shards of placement groups, by whether they have a place, are moved, or have none',
    labels: ['state'],
  },
  holdfast_control_placement_moves_total: {
    kind: 'counter',
    help: 'Moves of shards that placement has begun, by reason',
    labels: ['why'],
  },
  holdfast_control_placement_brake: {
    kind: 'gauge',
    help: '1 while no shard is placed anew, because many hosts are silent or control has just started',
  },
  holdfast_control_allotments_total: {
    kind: 'counter',
    help: 'Parts of fleet budgets that hosts asked for and got, or of which nothing was left',
    labels: ['outcome'],
  },
  holdfast_control_highest_epoch: {
    kind: 'gauge',
    help: 'Highest fencing token granted; no grant will have it or a lower one',
  },
  holdfast_control_recovering: {
    kind: 'gauge',
    help: '1 while leases of before the start hold back grants',
  },
  holdfast_control_rollbacks_total: {
    kind: 'counter',
    help: 'Times the store was found to be older than what others remember',
  },
  holdfast_control_implausible_reports_total: {
    kind: 'counter',
    help: 'High-water marks of hosts that are too far ahead to be real',
    labels: ['kind'],
  },
  holdfast_control_decisions_total: {
    kind: 'counter',
    help: 'Fresh decisions, by decision',
    labels: ['decision'],
  },
  holdfast_control_reports_total: {
    kind: 'counter',
    help: 'Reports of hosts, by outcome',
    labels: ['outcome'],
  },
  holdfast_control_report_events_total: {
    kind: 'counter',
    help: 'Journal events stored, by whether they could be read',
    labels: ['readable'],
  },
  holdfast_control_operations: {
    kind: 'gauge',
    help: 'Operations as last reported, by state',
    labels: ['state'],
  },
  holdfast_control_divergences_total: {
    kind: 'counter',
    help: 'Decisions of hosts that what was in force would have made otherwise, by kind',
    labels: ['kind'],
  },
  holdfast_control_divergences: {
    kind: 'gauge',
    help: 'Divergences, by whether a person has settled them, and how',
    labels: ['state'],
  },
  holdfast_control_reevaluations_total: {
    kind: 'counter',
    help: 'Reported decisions that were made again, by outcome',
    labels: ['outcome'],
  },
  holdfast_control_reevaluation_behind_events: {
    kind: 'gauge',
    help: 'Reported events that are still to be looked at for divergence',
  },
  holdfast_control_approval_verdicts_total: {
    kind: 'counter',
    help: 'What approvers asked for, by verb and by what came of it',
    labels: ['verb', 'outcome'],
  },
  holdfast_control_approvals_pending: {
    kind: 'gauge',
    help: 'Requests for approvals that wait for a decision',
  },
  holdfast_control_notices_in_force: {
    kind: 'gauge',
    help: 'Notices that every host is to obey',
  },
  holdfast_control_notices_unconfirmed: {
    kind: 'gauge',
    help: 'Hosts that have not confirmed the newest notice',
  },
  holdfast_control_events_unreported: {
    kind: 'gauge',
    help: 'Journal events that hosts say they have and control has not got',
  },
} as const satisfies MetricTable;

export type ControlMetrics = typeof CONTROL_METRICS;
