/** `ControlStore` in one SQLite file: WAL, FULL, one connection. For one node. */
import { SYSTEM_PACE, type CommitPace } from '../../shared/platform/commit-pace.ts';
import { migrate, openDatabase } from '../../shared/platform/sqlite.ts';
import type { ControlStore, Run } from './control-store.ts';
import { CONTROL_MIGRATIONS } from './migrations.ts';
import { sqliteApprovalStore } from './sqlite-approvals.ts';
import { sqliteAllotmentStore } from './sqlite-allotments.ts';
import { SqliteConnection, textOf } from './sqlite-connection.ts';
import { sqliteDivergenceStore } from './sqlite-divergences.ts';
import { sqliteHostStore } from './sqlite-hosts.ts';
import { highestEpoch, sqliteLeaseStore } from './sqlite-leases.ts';
import { sqliteAuditStore, sqliteOperatorStore } from './sqlite-operators.ts';
import { sqliteNoticeStore } from './sqlite-notices.ts';
import { sqliteOutageStore } from './sqlite-outages.ts';
import { sqliteParkedStore } from './sqlite-parked.ts';
import { sqlitePlacementStore } from './sqlite-placement.ts';
import { sqlitePolicyStore } from './sqlite-policy.ts';
import { sqliteProposalStore } from './sqlite-proposals.ts';
import { sqliteReportStore } from './sqlite-reports.ts';
import { sqliteRolloutStore } from './sqlite-rollouts.ts';
import { sqliteTimelineStore } from './sqlite-timeline.ts';

/** Throws `StoreError` where the file cannot be used, each with its reason. */
export function openSqliteControlStore(path: string, pace: CommitPace = SYSTEM_PACE): ControlStore {
  const database = openDatabase(path);
  try {
    migrate(database, CONTROL_MIGRATIONS);
  } catch (error) {
    database.close();
    throw error;
  }
  const connection = new SqliteConnection(database, pace);
  return {
    policy: sqlitePolicyStore(connection),
    hosts: sqliteHostStore(connection),
    leases: sqliteLeaseStore(connection),
    placement: sqlitePlacementStore(connection),
    allotments: sqliteAllotmentStore(connection),
    reports: sqliteReportStore(connection),
    outages: sqliteOutageStore(connection),
    parked: sqliteParkedStore(connection),
    operators: sqliteOperatorStore(connection),
    audit: sqliteAuditStore(connection),
    rollouts: sqliteRolloutStore(connection),
    proposals: sqliteProposalStore(connection),
    timeline: sqliteTimelineStore(connection),
    divergences: sqliteDivergenceStore(connection),
    approvals: sqliteApprovalStore(connection),
    notices: sqliteNoticeStore(connection),
    state: () =>
      connection.read(() => {
        const row = connection.get('SELECT control_id, run FROM control_state');
        const longest = connection.get('SELECT max(term_ms) AS longest FROM leases');
        return {
          controlId: row === undefined ? null : textOf(row, 'control_id'),
          run: Number(row?.['run'] ?? 0),
          highestEpoch: highestEpoch(connection),
          longestTermMs: Number(longest?.['longest'] ?? 0),
        };
      }),
    async startRun({ controlId, run }) {
      connection.beginRun(run, () => {
        connection.change(
          `INSERT INTO control_state VALUES (1, ?, ?, 0)
           ON CONFLICT (id) DO UPDATE SET run = excluded.run`,
          [controlId, run],
        );
      });
      return connection.read((): Run => {
        const row = connection.get('SELECT control_id FROM control_state');
        return { controlId: textOf(row ?? {}, 'control_id'), run };
      });
    },
    onFailure: (tell) => connection.onFailure(tell),
    async close() {
      connection.close();
    },
  };
}
