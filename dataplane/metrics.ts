/**
 * Every metric of the sidecar; the ones about control's side are in `upstream/`. Timestamps rather
 * than ages; labels bounded.
 */
import type { MetricTable } from '../shared/platform/metrics.ts';
import { UPSTREAM_METRICS } from './upstream/upstream-metrics.ts';

export const SIDECAR_METRICS = {
  ...UPSTREAM_METRICS,
  holdfast_build_info: {
    kind: 'gauge',
    help: 'Version of the running program; always 1',
    labels: ['version', 'daemon'],
  },
  holdfast_admissions_total: {
    kind: 'counter',
    help: 'Admission requests by decision, reason and basis',
    labels: ['decision', 'reason', 'basis'],
  },
  holdfast_limit_refusals_total: {
    kind: 'counter',
    help: 'Admissions refused by a limit, by rule and kind of limit; also those that share a record',
    labels: ['rule', 'kind'],
  },
  holdfast_operations: {
    kind: 'gauge',
    help: 'Operations in the journal by state',
    labels: ['state'],
  },
  holdfast_journal_commit_duration_seconds: {
    kind: 'histogram',
    help: 'Time of one commit, its fsync included',
  },
  holdfast_journal_batch_commands: {
    kind: 'histogram',
    help: 'Commands that shared one commit',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
  },
  holdfast_journal_queue_commands: { kind: 'gauge', help: 'Commands waiting for a commit' },
  holdfast_journal_write_wait_seconds: {
    kind: 'gauge',
    help: 'How long a write that is asked for now would wait for the disk',
  },
  holdfast_admissions_turned_away_total: {
    kind: 'counter',
    help: 'New work that the journal did not take, unrecorded, by reason',
    labels: ['reason'],
  },
  holdfast_disk_free_bytes: {
    kind: 'gauge',
    help: 'Free bytes of the file system of the journal',
  },
  holdfast_disk_pressure: {
    kind: 'gauge',
    help: '1 for what the free space means now: ample, soft (no new work), hard (ballast released)',
    labels: ['state'],
  },
  holdfast_journal_ballast_bytes: {
    kind: 'gauge',
    help: 'Bytes held back for accepted work on a full disk',
  },
  holdfast_journal_quarantined: {
    kind: 'gauge',
    help: 'Whether the journal is damaged, not the one remembered, or read-only, and takes nothing',
  },
  holdfast_journal_size_bytes: {
    kind: 'gauge',
    help: 'Bytes of the journal in use, looked at once a minute; what is free in its file is used again',
  },
  holdfast_journal_over_size: {
    kind: 'gauge',
    help: 'Whether the journal is over maxJournalSize and what is left may not be removed',
  },
  holdfast_journal_pruned_seq: {
    kind: 'gauge',
    help: 'Entry up to which the journal keeps only what may not be removed yet',
  },
  holdfast_operations_pruned_total: {
    kind: 'counter',
    help: 'Operations removed from the journal after their retention',
  },
  holdfast_journal_seq: { kind: 'gauge', help: 'Newest entry of the journal' },
  holdfast_journal_reported_seq: {
    kind: 'gauge',
    help: 'Newest entry of the journal that control holds',
  },
  holdfast_http_request_duration_seconds: {
    kind: 'histogram',
    help: 'Time to answer by route',
    labels: ['method', 'route', 'status'],
  },
  holdfast_http_requests_rejected_total: {
    kind: 'counter',
    help: 'Requests refused before they were read, by reason',
    labels: ['reason'],
  },
  holdfast_decisions_total: {
    kind: 'counter',
    help: 'Decisions asked for without an admission, by decision, reason and basis',
    labels: ['decision', 'reason', 'basis'],
  },
  holdfast_claims_total: {
    kind: 'counter',
    help: 'Claims of workers that were answered, by what came of them: claimed, replayed, empty',
    labels: ['outcome'],
  },
  holdfast_claimed_operations_total: {
    kind: 'counter',
    help: 'Operations that claims have taken, those that a key brought back left out',
  },
  holdfast_claims_waiting: { kind: 'gauge', help: 'Workers that wait for work' },
  holdfast_config_reads_total: {
    kind: 'counter',
    help: 'Reads of a config value by what was served: its value, its default, the last one, or none',
    labels: ['outcome'],
  },
  holdfast_config_streams: { kind: 'gauge', help: 'Open streams of config values' },
  holdfast_config_streams_cut_total: {
    kind: 'counter',
    help: 'Streams of config values that the sidecar ended, by reason',
    labels: ['reason'],
  },
  holdfast_reconciliations_open: {
    kind: 'gauge',
    help: 'Operations with an unknown outcome, by what is done about it',
    labels: ['strategy'],
  },
  holdfast_reconciliations_oldest_timestamp_seconds: {
    kind: 'gauge',
    help: 'When the oldest of them became unknown; absent where there is none',
    labels: ['strategy'],
  },
  holdfast_reconciliation_attempts_total: {
    kind: 'counter',
    help: 'Tries to settle an unknown outcome, and what came of each',
    labels: ['strategy', 'outcome'],
  },
  holdfast_resumed_total: {
    kind: 'counter',
    help: 'Paused operations that went on, or that the policy in force refused, after control came back',
    labels: ['as'],
  },
  holdfast_resume_operations: {
    kind: 'gauge',
    help: 'Paused operations by what was found when they were decided again',
    labels: ['verdict'],
  },
  holdfast_resume_stopped: {
    kind: 'gauge',
    help: '1 while an operator has stopped the resumption of paused work, else 0',
  },
  holdfast_resume_rate: {
    kind: 'gauge',
    help: 'Paused operations that go on in a second once control is back',
  },
  holdfast_webhook_deliveries_total: {
    kind: 'counter',
    help: 'Webhooks by target and outcome: delivered, failed (tried again), parked (given up)',
    labels: ['target', 'outcome'],
  },
  holdfast_webhook_parked: {
    kind: 'gauge',
    help: 'Webhooks that were given up and wait for a person, by target',
    labels: ['target'],
  },
  holdfast_outage_budget_seconds: {
    kind: 'gauge',
    help: 'How long the action keeps being admitted if control is lost now; 100 actions by name',
    labels: ['action'],
  },
} as const satisfies MetricTable;
