import type { PolicyRevision } from '../../shared/wire/control-api.ts';
import type { PolicyStore, StoredRevision } from './control-store.ts';
import {
  numberOf,
  numberOrNull,
  textOf,
  textOrNull,
  toPage,
  type Row,
  type SqliteConnection,
} from './sqlite-connection.ts';
import { writeProposal } from './sqlite-proposals.ts';
import { writeRollout } from './sqlite-rollouts.ts';
import { writeInForce } from './sqlite-timeline.ts';

const SUMMARY = 'policy_revision, policy_digest, published_at_ms, published_by, comment, rules';

export function sqlitePolicyStore(connection: SqliteConnection): PolicyStore {
  const currentNumber = (): number | null => {
    const row = connection.get('SELECT max(policy_revision) AS newest FROM policy_revisions');
    return row === undefined ? null : numberOrNull(row, 'newest');
  };
  return {
    currentNumber: () => connection.read(currentNumber),
    current: () =>
      connection.read(() => {
        const row = connection.get(
          'SELECT * FROM policy_revisions ORDER BY policy_revision DESC LIMIT 1',
        );
        return row === undefined ? null : readRevision(row);
      }),
    fetch: (policyRevision) =>
      connection.read(() => {
        const row = connection.get('SELECT * FROM policy_revisions WHERE policy_revision = ?', [
          policyRevision,
        ]);
        return row === undefined ? null : readRevision(row);
      }),
    list: (page) =>
      connection.read(() =>
        toPage(
          page,
          (limit, after) =>
            connection.all(
              `SELECT ${SUMMARY} FROM policy_revisions WHERE policy_revision < ?
               ORDER BY policy_revision DESC LIMIT ?`,
              [after === null ? Number.MAX_SAFE_INTEGER : Number(after), limit],
            ),
          readSummary,
          (row) => String(numberOf(row, 'policy_revision')),
        ),
      ),
    append: (revision, follows, audit, besides = {}) =>
      connection.write(() => {
        connection.require(currentNumber() === follows);
        connection.change('INSERT INTO policy_revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)', [
          revision.policyRevision,
          revision.policyDigest,
          revision.publishedAtMs,
          revision.publishedBy,
          revision.comment,
          revision.rules,
          JSON.stringify(revision.policy),
          revision.bundle,
        ]);
        if (besides.rollout !== undefined) writeRollout(connection, besides.rollout);
        if (besides.proposal !== undefined) writeProposal(connection, besides.proposal);
        writeInForce(connection, besides.inForce ?? []);
        connection.appendAudit([audit]);
      }),
  };
}

function readSummary(row: Row): PolicyRevision {
  return {
    policyRevision: numberOf(row, 'policy_revision'),
    policyDigest: textOf(row, 'policy_digest'),
    publishedAtMs: numberOf(row, 'published_at_ms'),
    publishedBy: textOf(row, 'published_by'),
    comment: textOrNull(row, 'comment'),
    rules: numberOf(row, 'rules'),
  };
}

function readRevision(row: Row): StoredRevision {
  return {
    ...readSummary(row),
    policy: JSON.parse(textOf(row, 'policy')) as StoredRevision['policy'],
    bundle: textOf(row, 'bundle'),
  };
}
