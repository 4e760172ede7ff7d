import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import type { Proposal, PublicationReport } from '../../shared/wire/publication.ts';
import type { ProposalRecord, ProposalStore, ProposalWrite } from './control-store.ts';
import { textOf, toPage, type Row, type SqliteConnection } from './sqlite-connection.ts';

/** Sorts after every id. */
const AFTER_ALL = '\u{10ffff}';

export function sqliteProposalStore(connection: SqliteConnection): ProposalStore {
  return {
    async add({ report, ...proposal }, policy, audit) {
      await connection.write(() => {
        connection.change('INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?)', [
          proposal.proposalId,
          proposal.state,
          proposal.expiresAtMs,
          JSON.stringify(proposal),
          JSON.stringify(report),
          JSON.stringify(policy),
        ]);
        connection.appendAudit([audit]);
      });
    },
    fetch: (proposalId) =>
      connection.read(() => {
        const row = connection.get('SELECT * FROM proposals WHERE proposal_id = ?', [proposalId]);
        if (row === undefined) return null;
        return {
          record: readProposal(row),
          policy: JSON.parse(textOf(row, 'policy')) as PolicyDocument,
        };
      }),
    write: (write, audit) =>
      connection.write(() => {
        writeProposal(connection, write);
        connection.appendAudit([audit]);
      }),
    list: (page) =>
      connection.read(() =>
        toPage(
          page,
          (limit, after) =>
            connection.all(
              `SELECT proposal_id, record, report FROM proposals WHERE proposal_id < ?
               ORDER BY proposal_id DESC LIMIT ?`,
              [after ?? AFTER_ALL, limit],
            ),
          readProposal,
          (row) => textOf(row, 'proposal_id'),
        ),
      ),
    countOpen: (nowMs) =>
      connection.read(() =>
        Number(
          connection.get(
            "SELECT count(*) AS open FROM proposals WHERE state = 'open' AND expires_at_ms > ?",
            [nowMs],
          )?.['open'],
        ),
      ),
  };
}

/** Inside a transaction: only while it is in the state in which it was judged. */
export function writeProposal(
  connection: SqliteConnection,
  { record, replaces }: ProposalWrite,
): void {
  connection.changeOne(
    'UPDATE proposals SET state = ?, record = ? WHERE proposal_id = ? AND state = ?',
    [record.state, JSON.stringify(record), record.proposalId, replaces],
  );
}

function readProposal(row: Row): ProposalRecord {
  return {
    ...(JSON.parse(textOf(row, 'record')) as Proposal),
    report: JSON.parse(textOf(row, 'report')) as PublicationReport,
  };
}
