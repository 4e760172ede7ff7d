/**
 * One row for each budget of the fleet, with all of its parts: they are read, decided on and written
 * together.
 */
import type { BudgetState } from '../core/allotments.ts';
import type { AllotmentStore, BudgetRecord } from './control-store.ts';
import { numberOf, textOf, toPage, type Row, type SqliteConnection } from './sqlite-connection.ts';

const NOTHING: BudgetState = { window: null, parts: [] };

export function sqliteAllotmentStore(connection: SqliteConnection): AllotmentStore {
  return {
    forSync: (budgets) =>
      connection.read(() =>
        budgets.map((budget): BudgetRecord => {
          const row = connection.get('SELECT * FROM allotments WHERE name = ?', [nameOf(budget)]);
          return row === undefined ? { budget, state: NOTHING, version: 0 } : readBudget(row);
        }),
      ),
    apply: (writes, run) =>
      connection.write(() => {
        for (const { record, replacesVersion, endsBootMs, termMs } of writes) {
          const name = nameOf(record.budget);
          const state = JSON.stringify(record.state);
          if (replacesVersion === 0)
            connection.changeOne(
              'INSERT INTO allotments VALUES (?, ?, ?, 1, ?, ?, ?) ON CONFLICT (name) DO NOTHING',
              [name, JSON.stringify(record.budget), state, run, endsBootMs, termMs],
            );
          else
            connection.changeOne(
              `UPDATE allotments SET state = ?, version = version + 1, run = ?, ends_boot_ms = ?,
                 term_ms = ? WHERE name = ? AND version = ?`,
              [state, run, endsBootMs, termMs, name, replacesVersion],
            );
        }
      }),
    list: (page) =>
      connection.read(() =>
        toPage(
          page,
          (limit, after) =>
            connection.all('SELECT * FROM allotments WHERE name > ? ORDER BY name LIMIT ?', [
              after ?? '',
              limit,
            ]),
          readBudget,
          (row) => textOf(row, 'name'),
        ),
      ),
    async forgetEnded({ run, startedBootMs, nowBootMs, limit }) {
      await connection.write(() => {
        connection.change(
          `DELETE FROM allotments WHERE name IN (SELECT name FROM allotments
             WHERE CASE WHEN run = ? THEN ends_boot_ms ELSE ? + term_ms END < ? LIMIT ?)`,
          [run, startedBootMs, nowBootMs, limit],
        );
      });
    },
  };
}

function nameOf({ rule, kind, per, key }: BudgetRecord['budget']): string {
  return [rule, kind, per, key].join(' ');
}

function readBudget(row: Row): BudgetRecord {
  return {
    budget: JSON.parse(textOf(row, 'budget')) as BudgetRecord['budget'],
    state: JSON.parse(textOf(row, 'state')) as BudgetState,
    version: numberOf(row, 'version'),
  };
}
