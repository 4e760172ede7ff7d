/** Brings the database of one plane to its newest schema and ends: a program for failpoints to kill. */
import { CONTROL_MIGRATIONS } from '../../../control/store/migrations.ts';
import { JOURNAL_MIGRATIONS } from '../../../dataplane/journal/journal-schema.ts';
import { migrate, openDatabase, type Migration } from '../../../shared/platform/sqlite.ts';

export const PLANES: Readonly<Record<'journal' | 'control', readonly Migration[]>> = {
  journal: JOURNAL_MIGRATIONS,
  control: CONTROL_MIGRATIONS,
};
export type Plane = keyof typeof PLANES;

if (import.meta.main) {
  const [plane, path = ''] = process.argv.slice(2);
  const database = openDatabase(path);
  migrate(database, PLANES[plane as Plane]);
  database.close();
}
