/**
 * Seeded histories in two journals, one of which is pruned on the way: what is left of it must be
 * exactly what a naive reading of the other one says, entry for entry.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../../shared/core/time.ts';
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import { AgedJournal, expectSound } from '../../fakes/aged-journal.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import { FakeRandom } from '../../fakes/fake-random.ts';

const LIMITS = { retentionMs: DAY_MS, sizeBytesMax: null };
const SEEDS = Array.from({ length: 12 }, (_, index) => index + 1);
const ROUNDS = 12;
const ACTIONS_PER_ROUND = 25;
const ALL = 1_000_000;
const SETTLED = ['succeeded', 'failed', 'cancelled', 'expired'];

type Everything = {
  readonly events: readonly JournalEvent[];
  readonly operations: readonly StoredOperation[];
  readonly outages: readonly string[];
  readonly refusals: readonly string[];
};

function everythingIn({ journal: { reader } }: AgedJournal): Everything {
  const filter = { app: null, state: null, beforeSeq: Number.MAX_SAFE_INTEGER, limit: ALL };
  return {
    events: reader.keptAndLaterEvents(0, ALL),
    operations: reader.operations(filter).map(({ operation }) => operation),
    outages: reader.recovery
      .outages({ beforeSeq: Number.MAX_SAFE_INTEGER, limit: ALL })
      .map(({ outage }) => outage.outageId),
    refusals: reader.refusals(ALL).map(({ refusalId }) => refusalId),
  };
}

/** The oracle: everything that was ever written, and nothing of how the pruning is done. */
function whatMayNotGo(all: Everything, ackedSeq: number, nowMs: number): Everything {
  const isYoung = (atMs: number): boolean => nowMs - atMs < LIMITS.retentionMs;
  const first = all.events.find(({ seq, atMs }) => isYoung(atMs) || seq >= ackedSeq);
  const anchorSeq = (first?.seq ?? 1) - 1;
  const newestOf = (id: string): number =>
    Math.max(...all.events.map(({ seq, operationId }) => (operationId === id ? seq : 0)));
  const operations = all.operations.filter(
    ({ operationId, state, settledAtMs, deadlineAtMs }) =>
      !SETTLED.includes(state) ||
      newestOf(operationId) > anchorSeq ||
      nowMs < deadlineAtMs ||
      isYoung(settledAtMs ?? nowMs),
  );
  const closedAt = (id: string): number =>
    all.events.find((event) => event.kind === 'outage_closed' && event.outageId === id)?.seq ?? ALL;
  const outages = all.outages.filter((id, place) => place === 0 || closedAt(id) > anchorSeq);
  const ids = new Set(operations.map(({ operationId }) => operationId));
  const events = all.events.filter(
    ({ seq, kind, operationId, outageId }) =>
      seq > anchorSeq ||
      (operationId !== null && ids.has(operationId)) ||
      (kind.startsWith('outage_') && outages.includes(outageId ?? '')),
  );
  const refused = events.filter(({ kind }) => kind === 'refused').toReversed();
  const refusals = refused.map(({ body }) => (body['refusal'] as { refusalId: string }).refusalId);
  return { events, operations, outages, refusals };
}

type Act = (journal: AgedJournal) => Promise<unknown>;

/** The same for both journals. Old operations are acted on as well as new ones. */
function nextAct(random: FakeRandom, keys: string[]): Act {
  const key = keys[random.below(keys.length)] ?? '';
  const recent = keys.at(-1 - random.below(3)) ?? key;
  const acts: readonly (() => Act)[] = [
    () => {
      const added = `k${keys.length}`;
      const deadlineMs = random.below(5) === 0 ? 3 * DAY_MS : 10 * MINUTE_MS;
      keys.push(added);
      return (journal) => journal.admit(added, deadlineMs);
    },
    () => (journal) => journal.start(recent),
    () => (journal) => journal.end(recent),
    () => (journal) => journal.end(recent, 'unknown'),
    () => (journal) => journal.apply(key, { kind: 'cancel', reason: 'tired' }),
    () => (journal) => journal.apply(key, { kind: 'pass_deadline' }),
    () => {
      const resolve = { kind: 'resolve', provenance: 'asserted', reason: 'looked' } as const;
      return (journal) => journal.apply(key, { ...resolve, outcome: 'failed', result: null });
    },
    () => (journal) => journal.refuse(`ref_${keys.length}`),
    () => (journal) => journal.outage(),
    () => (journal) => journal.outageMoment(),
    () => {
      const policyRevision = keys.length;
      return ({ journal }) => journal.recordPolicy('policy_activated', { policyRevision });
    },
  ];
  const act = acts[random.below(2) === 0 ? random.below(3) : random.below(acts.length)];
  return act === undefined ? async () => undefined : act();
}

test.each(SEEDS)('I1, I2, I8, I12: history %i', async (seed) => {
  const directory = mkdtempSync(join(tmpdir(), 'histories-'));
  const random = new FakeRandom(seed);
  const clock = new FakeClock();
  const pruned = new AgedJournal(join(directory, 'pruned'), clock);
  const whole = new AgedJournal(join(directory, 'whole'), clock);
  const keys: string[] = [];
  let isAnythingGone = false;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let count = 0; count < ACTIONS_PER_ROUND; count += 1) {
      const act = nextAct(random, keys);
      for (const journal of [pruned, whole]) await act(journal);
      clock.jump(random.below(HOUR_MS));
    }
    const ackedSeq = whole.journal.head().seq - random.below(10);
    for (const { journal } of [pruned, whole]) await journal.acknowledge(ackedSeq);
    if (random.below(4) === 0) clock.reboot({ downMs: random.below(HOUR_MS) });
    if (random.below(3) === 0) await pruned.reopen();
    await pruned.prune(LIMITS);
    const all = everythingIn(whole);
    const heldSeq = whole.journal.ackedSeq();
    const expected = whatMayNotGo(all, heldSeq, clock.now().wallMs);
    expect(everythingIn(pruned)).toEqual(expected);
    expectSound(pruned.files);
    const left = new Set(expected.operations.map(({ idempotencyKey }) => idempotencyKey));
    for (const key of keys) expect([key, await pruned.knows(key)]).toEqual([key, left.has(key)]);
    isAnythingGone ||= expected.operations.length < all.operations.length;
  }
  expect(isAnythingGone).toBe(true);
  await Promise.all([pruned.journal.close(), whole.journal.close()]);
  rmSync(directory, { recursive: true });
});
