import type { NoticeEntry } from '../../shared/wire/notices.ts';
import type { NoticeHolder, NoticeStore } from './notice-store.ts';
import { numberOf, textOf, textOrNull, type SqliteConnection } from './sqlite-connection.ts';
import { writeNotice } from './sqlite-timeline.ts';

export function sqliteNoticeStore(connection: SqliteConnection): NoticeStore {
  return {
    log: () =>
      connection.read(() =>
        connection
          .all('SELECT entry FROM notice_log ORDER BY sequence')
          .map((row) => JSON.parse(textOf(row, 'entry')) as NoticeEntry),
      ),
    append: ({ entries, notice, audit }) =>
      connection.write(() => {
        for (const entry of entries) {
          const row = connection.get('SELECT max(sequence) AS newest FROM notice_log');
          connection.require(Number(row?.['newest'] ?? 0) === entry.follows);
          connection.change('INSERT INTO notice_log VALUES (?, ?)', [
            entry.sequence,
            JSON.stringify(entry),
          ]);
        }
        if (notice !== null) writeNotice(connection, notice);
        connection.appendAudit(audit);
      }),
    holders: () =>
      connection.read(
        () =>
          new Map(
            connection.all('SELECT * FROM notice_holders').map((row): [string, NoticeHolder] => [
              textOf(row, 'host_id'),
              {
                hostEpoch: numberOf(row, 'host_epoch'),
                position: {
                  sequence: numberOf(row, 'sequence'),
                  entryId: textOrNull(row, 'entry_id'),
                },
              },
            ]),
          ),
      ),
    async keepHolder(hostId, { hostEpoch, position: { sequence, entryId } }) {
      await connection.writeTogether(
        () => {
          connection.change(
            `INSERT INTO notice_holders VALUES (?, ?, ?, ?)
             ON CONFLICT (host_id) DO UPDATE SET host_epoch = excluded.host_epoch,
               sequence = excluded.sequence, entry_id = excluded.entry_id`,
            [hostId, hostEpoch, sequence, entryId],
          );
        },
        { isLazy: true },
      );
    },
  };
}
