/** The lease at the last moment: on the writer's thread, in the transaction that would act on it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SystemClock } from '../../shared/platform/clock.ts';
import type { Journal } from '../../dataplane/journal/journal.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { newEntry } from '../fakes/journal-image.ts';

const clock = new SystemClock();
let directory: string;
let journal: Journal;

beforeEach(async () => {
  directory = mkdtempSync(`${tmpdir()}/journal-`);
  journal = await openJournal(directory, clock);
  const entry = newEntry('a');
  const admission = {
    ...entry.admission,
    leaseResource: 'orders/7',
    leaseEpoch: 5,
    ownershipMode: 'strict' as const,
  };
  await journal.admit({ ...entry, admission });
});

afterEach(async () => {
  await journal.close();
  rmSync(directory, { recursive: true });
});

const owned = (endsBootMs: number) =>
  ({ owned: true, epoch: 5, inGrace: false, endsBootMs }) as const;
const start = (endsBootMs: number) =>
  journal.submit({
    type: 'apply',
    operationId: 'op_a',
    app: null,
    event: { kind: 'start_attempt', supersede: false, key: null, ownership: owned(endsBootMs) },
  });

test('I7: a lease that ended while an attempt waited for the journal begins none', async () => {
  const nowMs = clock.now().bootMs;
  expect(await start(nowMs - 1_000)).toMatchObject({ type: 'declined', code: 'lease_lost' });
  expect(journal.operation('op_a')).toMatchObject({ state: 'accepted', attempt: 0 });
  expect(await start(nowMs + 60_000)).toMatchObject({ type: 'applied' });
});

test('I7: nor an effect', async () => {
  const endsBootMs = clock.now().bootMs + 60_000;
  await start(endsBootMs);
  const [effect = ''] = Object.keys(journal.operation('op_a')?.effectTerms ?? {});
  const begin = (ownedUntilMs: number) =>
    journal.submit({
      type: 'apply',
      operationId: 'op_a',
      app: null,
      event: {
        kind: 'begin_effect',
        attempt: 1,
        name: effect,
        key: null,
        recheck: null,
        ownership: owned(ownedUntilMs),
      },
    });
  expect(await begin(clock.now().bootMs - 1_000)).toMatchObject({ code: 'lease_lost' });
  expect(journal.operation('op_a')?.effects).toEqual([]);
  expect(await begin(endsBootMs)).toMatchObject({ type: 'applied' });
});

test.each([
  ['held until it is recorded', 60_000, null, { outcome: { ownership: 'held' }, reason: null }],
  [
    'over while it waited for the journal',
    -1_000,
    null,
    { outcome: { ownership: 'lost' }, reason: 'lease_lost_before_outcome' },
  ],
  [
    'under a rival that was seen here',
    60_000,
    6,
    { outcome: { ownership: 'lost' }, reason: 'lease_lost_before_outcome' },
  ],
])(
  'I6, I8: a success is a success, and says of its lease: %s',
  async (_name, leftMs, rival, expected) => {
    await start(clock.now().bootMs + 60_000);
    if (rival !== null)
      await journal.submit({ type: 'check_fence', resource: 'orders/7', epoch: rival });
    await journal.submit({
      type: 'apply',
      operationId: 'op_a',
      app: null,
      event: {
        kind: 'report_outcome',
        attempt: 1,
        outcome: 'succeeded',
        result: null,
        reason: null,
        ownership: owned(clock.now().bootMs + leftMs),
      },
    });
    expect(journal.operation('op_a')).toMatchObject({ state: 'succeeded', ...expected });
  },
);

test('I1, I6: a register and the fence it raised are there for the next start', async () => {
  const write = {
    app: 'demo',
    key: 'seen',
    valueText: '1',
    replaces: null,
    resource: 'orders/7',
    epoch: 8,
    isKnownHere: true,
    registersMax: 1,
  };
  expect(await journal.submit({ type: 'write_register', ...write })).toMatchObject({
    type: 'register',
  });
  await journal.close();
  journal = await openJournal(directory, clock);
  expect(journal.quarantine).toBeNull();
  expect(journal.reader.register('demo', 'seen')).toMatchObject({ value: '1', epoch: 8 });
  expect(await journal.submit({ type: 'write_register', ...write, epoch: 7 })).toMatchObject({
    code: 'stale_owner',
  });
  expect(await journal.submit({ type: 'write_register', ...write, key: 'b' })).toMatchObject({
    code: 'registers_full',
  });
});
