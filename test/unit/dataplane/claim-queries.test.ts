import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { isNamed } from '../../../dataplane/core/claim.ts';
import { CLAIM_SQL, ClaimQueries } from '../../../dataplane/journal/claim-queries.ts';
import { JOURNAL_MIGRATIONS } from '../../../dataplane/journal/journal-schema.ts';
import { migrate, openDatabase } from '../../../shared/platform/sqlite.ts';

const directory = mkdtempSync(join(tmpdir(), 'claim-queries-'));
const database = openDatabase(join(directory, 'journal.db'));
migrate(database, JOURNAL_MIGRATIONS);
afterAll(() => {
  database.close();
  rmSync(directory, { recursive: true });
});

describe('a claim costs the same whatever has ended', () => {
  const RANGE = 'operations USING COVERING INDEX operations_claimable (app=? AND action';
  test.for([
    ['nextAction', ['app', '', '~'], `SEARCH ${RANGE}>? AND action<?)`],
    ['page', ['app', 'a', 0, 0, 10], `SEARCH ${RANGE}=? AND deadline_at_ms>?)`],
    [
      'key',
      ['app', 'k'],
      'SEARCH claims USING COVERING INDEX sqlite_autoindex_claims_1 (app=? AND key=?)',
    ],
  ] as const)('%s goes down one index and sorts nothing', ([name, values, plan]) => {
    const steps = database.prepare(`EXPLAIN QUERY PLAN ${CLAIM_SQL[name]}`).all(...values);
    expect(steps.map(({ detail }) => detail)).toEqual([plan]);
  });

  test('the actions that have work, and no others, in their order', () => {
    const insert = database.prepare(
      "INSERT INTO operations (seq, app, key_hash, state, on_control_loss, deadline_at_ms, action) VALUES (?, 'demo', ?, ?, 'finish', ?, ?)",
    );
    const rows = [
      ['accepted', 'a.x'],
      ['succeeded', 'a.y'],
      ['accepted', 'a.b.c'],
      ['accepted', 'ab'],
      ['accepted', 'a.x'],
      ['paused', 'a.z'],
    ] as const;
    rows.forEach(([state, action], at) => insert.run(at + 1, at, state, 100 - at, action));
    const queries = new ClaimQueries(database);
    expect(queries.actions('demo', { after: 'a.', before: 'a/' }, 9)).toEqual(['a.b.c', 'a.x']);
    expect(queries.actions('demo', { after: '', before: '~' }, 9)).toEqual(['a.b.c', 'a.x', 'ab']);
    expect(queries.actions('other', { after: '', before: '~' }, 9)).toEqual([]);
    const first = queries.page('demo', 'a.x', { deadlineAtMs: 0, seq: 0 }, 1);
    expect(first).toEqual([{ deadlineAtMs: 96, seq: 5 }]);
    expect(queries.page('demo', 'a.x', first[0] ?? { deadlineAtMs: 0, seq: 0 }, 9)).toEqual([
      { deadlineAtMs: 100, seq: 1 },
    ]);
  });
});

test.for([
  ['payments.capture', ['payments.capture'], true],
  ['payments.capture', ['payments.*'], true],
  ['payments', ['payments.*'], false],
  ['payments-x.capture', ['payments.*'], false],
  ['payments.a.b', ['payments.*', 'x'], true],
  ['anything.at-all', ['*'], true],
  ['payments.capture', ['refunds.*', 'payments'], false],
] as const)('%s under %s: %s', ([action, patterns, isMeant]) => {
  expect(isNamed(action, patterns)).toBe(isMeant);
});
