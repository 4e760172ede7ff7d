import { DatabaseSync } from 'node:sqlite';
import { fc } from '../../fakes/properties.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { migrate, type Database } from '../../../shared/platform/sqlite.ts';
import { eventHash, entryHash } from '../../../shared/platform/entry-hash.ts';
import type { Admission } from '../../../shared/wire/operation.ts';
import { AdmissionTexts } from '../../../dataplane/core/admission-text.ts';
import { BodyEnds, WHOLE_BODY } from '../../../dataplane/journal/body-ends.ts';
import { JOURNAL_MIGRATIONS } from '../../../dataplane/journal/journal-schema.ts';
import { newEntry } from '../../fakes/journal-image.ts';

const SPAN = 10_000;

let database: Database;
let ends: BodyEnds;
beforeEach(() => {
  database = new DatabaseSync(':memory:');
  migrate(database, JOURNAL_MIGRATIONS);
  ends = new BodyEnds(database);
});
afterEach(() => database.close());

function add(seq: number, text: string): number {
  const name = ends.nameOf(text, seq);
  database
    .prepare(
      "INSERT INTO events (seq, at_ms, kind, body, body_end, hash) VALUES (?, 0, 'admitted', ?, ?, '')",
    )
    .run(seq, `own ${seq} `, name);
  return name;
}
const stored = (): unknown[] =>
  database
    .prepare('SELECT first_seq FROM body_ends ORDER BY first_seq')
    .all()
    .map((row) => row['first_seq']);
const bodies = (): unknown[] =>
  database
    .prepare(`SELECT ${WHOLE_BODY} AS body FROM events ORDER BY seq`)
    .all()
    .map((row) => row['body']);

test('an end is written once for the entries that have it, and anew after so many', () => {
  expect([add(1, 'a'), add(2, 'b'), add(3, 'a'), add(SPAN, 'a'), add(SPAN + 1, 'a')]).toEqual([
    1,
    2,
    1,
    1,
    SPAN + 1,
  ]);
  expect(stored()).toEqual([1, 2, SPAN + 1]);
  expect(bodies()).toEqual(['own 1 a', 'own 2 b', 'own 3 a', 'own 10000 a', 'own 10001 a']);
});

test('what was undone with a transaction is written again', () => {
  database.exec('BEGIN');
  add(1, 'a');
  database.exec('ROLLBACK');
  ends.forget();
  expect(add(1, 'a')).toBe(1);
  expect(bodies()).toEqual(['own 1 a']);
});

test('an end goes with the last entry that has it, once no other can come', () => {
  for (const seq of [1, 2, 3]) add(seq, seq === 2 ? 'b' : 'a');
  const remove = (seq: number) => database.exec(`DELETE FROM events WHERE seq = ${seq}`);
  remove(1);
  remove(2);
  ends.removeUnused(2, 2);
  ends.removePassed(0, SPAN);
  // The first could still be had by entry 10,000, and entry 3 has it.
  expect(stored()).toEqual([1, 2]);
  ends.removePassed(SPAN, SPAN + 2);
  expect(stored()).toEqual([1]);
  ends.removeUnused(1, SPAN + 2);
  expect(stored()).toEqual([1]);
  expect(bodies()).toEqual(['own 3 a']);
  remove(3);
  ends.removeUnused(1, SPAN + 2);
  expect(stored()).toEqual([]);
});

test('the text of an admission is its JSON, and is the same when it was read and written again', () => {
  const full: Admission = {
    ...newEntry('k').admission,
    attributes: { text: '"}\\\u2028é', at: 1e21 },
    leaseResource: 'orders/1',
    leaseEpoch: 3,
    leaseInGrace: true,
    warnings: ['w'],
    ownershipMode: 'fenced',
    ownershipGraceMs: 1,
    onControlLoss: 'pause',
    onWorkerLoss: 'retry',
    heartbeatTimeoutMs: 2,
  };
  const texts = new AdmissionTexts();
  const names = Object.keys(full) as (keyof Admission)[];
  const unsaid = names.filter((name) => newEntry('k').admission[name] === undefined);
  fc.assert(
    fc.property(
      fc.subarray([...unsaid, 'attributes']),
      fc.double({ noDefaultInfinity: true, noNaN: true, min: 0 }),
      (left, bootMs) => {
        const kept = Object.entries(full).filter(([name]) => !left.includes(name as never));
        const deadlineBoot = { bootId: 'b"\n', bootMs };
        const admission = { ...Object.fromEntries(kept), deadlineBoot } as Admission;
        const { own, end } = texts.textOf(admission);
        const body: unknown = JSON.parse(own + end);
        expect(body).toEqual(JSON.parse(JSON.stringify(admission)));
        const entry = { seq: 1, atMs: 2, kind: 'admitted', operationId: 'op_k', outageId: null };
        // As control checks it.
        expect(eventHash('0', { ...entry, body })).toBe(
          entryHash('0', { ...entry, bodyText: own + end }),
        );
      },
    ),
  );
});
