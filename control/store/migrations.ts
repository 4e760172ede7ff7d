/** The schema of control's SQLite store. Append only: an applied migration never changes again. */
import type { Migration } from '../../shared/platform/sqlite.ts';

export const CONTROL_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'control state, policy, operators and audit trail',
    sql: `
CREATE TABLE control_state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  control_id TEXT NOT NULL,
  run INTEGER NOT NULL,
  highest_epoch INTEGER NOT NULL
) STRICT;

CREATE TABLE policy_revisions (
  policy_revision INTEGER PRIMARY KEY,
  policy_digest TEXT NOT NULL,
  published_at_ms INTEGER NOT NULL,
  published_by TEXT NOT NULL,
  comment TEXT,
  rules INTEGER NOT NULL,
  policy TEXT NOT NULL,
  bundle TEXT NOT NULL
) STRICT;

CREATE TABLE operators (
  name TEXT PRIMARY KEY,
  roles TEXT NOT NULL,
  token_sha256 TEXT NOT NULL UNIQUE,
  created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  detail TEXT NOT NULL,
  previous_hash TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
`,
  },
  {
    version: 2,
    name: 'hosts, join tokens and leases',
    sql: `
CREATE TABLE join_tokens (
  token_id TEXT PRIMARY KEY,
  secret_sha256 TEXT NOT NULL,
  host_name TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  used_kid TEXT,
  used_host_id TEXT,
  used_host_epoch INTEGER
) STRICT;

CREATE TABLE hosts (
  host_id TEXT PRIMARY KEY,
  host_name TEXT NOT NULL UNIQUE,
  host_epoch INTEGER NOT NULL,
  kid TEXT NOT NULL,
  enrolled_at_ms INTEGER NOT NULL,
  last_sync_at_ms INTEGER,
  policy_revision INTEGER,
  policy_rejected TEXT,
  operations TEXT NOT NULL,
  sidecar_version TEXT,
  journal_seq INTEGER NOT NULL,
  high_water_revision INTEGER NOT NULL,
  high_water_epoch INTEGER NOT NULL,
  acked_host_epoch INTEGER NOT NULL,
  acked_seq INTEGER NOT NULL,
  acked_hash TEXT NOT NULL
) STRICT;

CREATE TABLE host_keys (
  kid TEXT PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  host_epoch INTEGER NOT NULL,
  public_key TEXT NOT NULL
) STRICT;

CREATE TABLE leases (
  resource TEXT PRIMARY KEY,
  epoch INTEGER NOT NULL UNIQUE,
  state TEXT NOT NULL,
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  host_epoch INTEGER NOT NULL,
  run INTEGER NOT NULL,
  ends_boot_ms INTEGER NOT NULL,
  term_ms INTEGER NOT NULL,
  granted_at_ms INTEGER NOT NULL,
  renewed_at_ms INTEGER NOT NULL,
  transitions INTEGER NOT NULL,
  version INTEGER NOT NULL
) STRICT;
CREATE INDEX leases_by_host ON leases (host_id, state);
`,
  },
  {
    version: 3,
    name: 'reports and their projections',
    sql: `
CREATE TABLE events (
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  host_epoch INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  operation_id TEXT,
  outage_id TEXT,
  body TEXT NOT NULL,
  previous_hash TEXT NOT NULL,
  hash TEXT NOT NULL,
  received_at_ms INTEGER NOT NULL,
  problem TEXT,
  PRIMARY KEY (host_id, host_epoch, seq)
) STRICT;
CREATE INDEX events_by_operation ON events (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX events_unreadable ON events (received_at_ms) WHERE problem IS NOT NULL;

CREATE TABLE operations (
  operation_id TEXT PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  state TEXT NOT NULL,
  record TEXT NOT NULL
) STRICT;
CREATE INDEX operations_by_state ON operations (state, operation_id);
CREATE INDEX operations_by_host ON operations (host_id, operation_id);

CREATE TABLE refusals (
  refusal_id TEXT NOT NULL,
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  record TEXT NOT NULL,
  PRIMARY KEY (refusal_id, host_id)
) STRICT;

CREATE TABLE outages (
  outage_id TEXT NOT NULL,
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  record TEXT NOT NULL,
  PRIMARY KEY (outage_id, host_id)
) STRICT;
`,
  },
  {
    version: 4,
    name: 'hand-overs of leases, placement groups and settings of hosts',
    sql: `
ALTER TABLE leases ADD COLUMN handover TEXT;
ALTER TABLE leases ADD COLUMN handover_to TEXT;
CREATE INDEX leases_by_handover ON leases (handover_to) WHERE handover_to IS NOT NULL;

CREATE TABLE placement_groups (
  name TEXT PRIMARY KEY,
  revision INTEGER NOT NULL,
  spec TEXT,
  updated_at_ms INTEGER NOT NULL,
  updated_by TEXT NOT NULL
) STRICT;

CREATE TABLE host_settings (
  host_id TEXT PRIMARY KEY REFERENCES hosts (host_id),
  version INTEGER NOT NULL,
  labels TEXT NOT NULL,
  drain TEXT
) STRICT;
`,
  },
  {
    version: 5,
    name: 'roll-outs, proposals, and what hosts say of themselves',
    sql: `
CREATE TABLE rollouts (
  policy_revision INTEGER PRIMARY KEY REFERENCES policy_revisions (policy_revision),
  record TEXT NOT NULL
) STRICT;

CREATE TABLE proposals (
  proposal_id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  record TEXT NOT NULL,
  report TEXT NOT NULL,
  policy TEXT NOT NULL
) STRICT;
CREATE INDEX proposals_open ON proposals (expires_at_ms) WHERE state = 'open';

CREATE TABLE host_facts (
  host_id TEXT PRIMARY KEY REFERENCES hosts (host_id),
  facts TEXT NOT NULL
) STRICT;

CREATE INDEX events_of_decisions ON events (received_at_ms)
  WHERE kind IN ('admitted', 'refused');
`,
  },
  {
    version: 6,
    name: 'allotments of fleet budgets',
    sql: `
CREATE TABLE allotments (
  name TEXT PRIMARY KEY,
  budget TEXT NOT NULL,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  run INTEGER NOT NULL,
  ends_boot_ms INTEGER NOT NULL,
  term_ms INTEGER NOT NULL
) STRICT;
`,
  },
  {
    version: 7,
    name: 'outages as control has seen them, and what hosts did in theirs',
    sql: `
CREATE TABLE control_runs (
  run INTEGER PRIMARY KEY,
  started_at_ms INTEGER NOT NULL,
  alive_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER
) STRICT;

CREATE TABLE own_outages (
  outage_id TEXT PRIMARY KEY,
  host_id TEXT REFERENCES hosts (host_id),
  from_ms INTEGER NOT NULL,
  to_ms INTEGER,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX own_outages_open ON own_outages (host_id) WHERE to_ms IS NULL;

CREATE TABLE outage_tallies (
  outage_id TEXT NOT NULL,
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  tally TEXT NOT NULL,
  PRIMARY KEY (outage_id, host_id)
) STRICT, WITHOUT ROWID;
`,
  },
  {
    version: 8,
    name: 'the timeline of what was in force, and divergences from it',
    // What was published before is known by the wall clock; what was reported before has no anchors
    // and is not looked at.
    sql: `
CREATE TABLE time_scales (
  from_ms INTEGER PRIMARY KEY,
  boot_id TEXT NOT NULL,
  boot_ms INTEGER NOT NULL,
  last_before_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE in_force (
  place INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  host_id TEXT,
  policy_revision INTEGER NOT NULL,
  cause TEXT NOT NULL
) STRICT;
CREATE INDEX in_force_by_host ON in_force (host_id, place);
INSERT INTO in_force (at_ms, host_id, policy_revision, cause)
  SELECT published_at_ms, NULL, policy_revision, 'published' FROM policy_revisions
  WHERE policy_revision NOT IN (
    SELECT policy_revision FROM rollouts WHERE json_extract(record, '$.state') <> 'completed')
  ORDER BY policy_revision;

CREATE TABLE authority_notices (
  notice_id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  reason TEXT NOT NULL,
  from_ms INTEGER NOT NULL,
  until_ms INTEGER
) STRICT;

CREATE TABLE sync_anchors (
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  host_epoch INTEGER NOT NULL,
  heard_ms INTEGER NOT NULL,
  transit_ms_max INTEGER,
  seq INTEGER NOT NULL,
  boot_id TEXT,
  boot_ms INTEGER,
  PRIMARY KEY (host_id, host_epoch, heard_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX sync_anchors_by_time ON sync_anchors (heard_ms);

CREATE TABLE reevaluation (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  place INTEGER NOT NULL
) STRICT;
INSERT INTO reevaluation SELECT 1, ifnull(max(rowid), 0) FROM events;
CREATE TABLE reevaluation_marks (at_ms INTEGER PRIMARY KEY, place INTEGER NOT NULL) STRICT;

CREATE TABLE divergences (
  place INTEGER PRIMARY KEY,
  divergence_id TEXT NOT NULL UNIQUE,
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  outage_id TEXT,
  state TEXT NOT NULL,
  stop TEXT,
  record TEXT NOT NULL
) STRICT;
CREATE INDEX divergences_by_state ON divergences (state, place);
CREATE INDEX divergences_by_host ON divergences (host_id, place);
CREATE INDEX divergences_by_outage ON divergences (outage_id, place) WHERE outage_id IS NOT NULL;
CREATE INDEX divergences_to_stop ON divergences (place) WHERE stop = 'pending';
`,
  },
  {
    version: 9,
    name: 'requests for approvals',
    sql: `
CREATE TABLE approvals (
  request_id TEXT PRIMARY KEY,
  operation_id TEXT NOT NULL,
  host_id TEXT NOT NULL REFERENCES hosts (host_id),
  host_epoch INTEGER NOT NULL,
  principal TEXT NOT NULL,
  state TEXT NOT NULL,
  delivery TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  record TEXT NOT NULL,
  statement TEXT,
  version INTEGER NOT NULL
) STRICT;
CREATE INDEX approvals_by_operation ON approvals (operation_id);
CREATE INDEX approvals_pending ON approvals (principal) WHERE state = 'pending';
CREATE INDEX approvals_undelivered ON approvals (host_id, host_epoch, request_id)
  WHERE delivery = 'waiting';
`,
  },
  {
    version: 10,
    name: 'the sequence of notices, and which hosts have them',
    sql: `
CREATE TABLE notice_log (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT;

CREATE TABLE notice_holders (
  host_id TEXT PRIMARY KEY REFERENCES hosts (host_id),
  host_epoch INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  entry_id TEXT
) STRICT;
`,
  },
];
