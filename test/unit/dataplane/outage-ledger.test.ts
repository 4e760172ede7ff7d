/**
 * What the writer counts of an outage, and what the reader lists of it, against all that was ever
 * written, over random histories with restarts: I8, I12.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, expect, test } from 'vitest';
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { Listed, ListPage } from '../../../dataplane/journal/recovery-reader.ts';
import { AgedJournal, expectSound } from '../../fakes/aged-journal.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import { fc } from '../../fakes/properties.ts';

let journals: AgedJournal[] = [];
afterEach(async () => {
  await Promise.all(journals.map((aged) => aged.remove()));
  journals = [];
});

function openAged(clock = new FakeClock()): AgedJournal {
  const aged = new AgedJournal(mkdtempSync(`${tmpdir()}/ledger-`), clock);
  journals.push(aged);
  return aged;
}

const CANCEL = { kind: 'cancel', reason: 'tired' } as const;
const RESOLVE = {
  kind: 'resolve',
  outcome: 'succeeded',
  provenance: 'asserted',
  reason: 'looked',
  result: null,
} as const;

type Step = (aged: AgedJournal, key: string) => Promise<unknown>;
const STEPS: Readonly<Record<string, Step>> = {
  start: (aged, key) => aged.start(key),
  succeed: (aged, key) => aged.end(key),
  lose: (aged, key) => aged.end(key, 'unknown'),
  resolve: (aged, key) => aged.apply(key, RESOLVE),
  pause: (aged, key) => aged.apply(key, { kind: 'lose_control' }),
  resume: (aged, key) => aged.apply(key, { kind: 'regain_control' }),
  cancel: (aged, key) => aged.apply(key, CANCEL),
  expire: (aged, key) => aged.apply(key, { kind: 'pass_deadline' }),
  checkpoint: (aged, key) =>
    aged.apply(key, { kind: 'save_checkpoint', attempt: 1, checkpoint: null }),
  refuse: (aged, key) => aged.refuse(`ref_${key}_${aged.journal.head().seq}`),
  outage: (aged) => aged.outage(),
  reopen: (aged) => aged.reopen(),
  later: async (aged) => aged.clock.jump(700),
};

/** Few, so that much befalls each. */
const KEYS = ['a', 'b'];
const historyOf = fc.array(
  fc.tuple(
    fc.constantFrom(...Object.keys(STEPS), 'admit', 'start', 'pause', 'resume', 'outage'),
    fc.constantFrom(...KEYS),
  ),
  { minLength: 20, maxLength: 60, size: 'max' },
);

async function live(aged: AgedJournal, history: readonly (readonly [string, string])[]) {
  const times = new Map<string, number>();
  const nameOf = (key: string): string => `${key}${times.get(key) ?? 0}`;
  for (const [step, key] of history) {
    if (step === 'admit') {
      times.set(key, (times.get(key) ?? 0) + 1);
      await aged.admit(nameOf(key), 3_000, {}, { onControlLoss: 'pause' });
    } else {
      await STEPS[step]?.(aged, nameOf(key));
    }
  }
}

const ADVANCING =
  /^(attempt_started|effect_begun|effect_settled|checkpoint_saved|succeeded|failed)$/;
const STOPPING = /^(paused|cancelled|expired)$/;
const ENDING = /^(succeeded|failed|cancelled|expired|unknown)$/;

/** The oracle: what was written, and nothing of how it is counted. */
function expectedOf(events: readonly JournalEvent[], from: number, to: number) {
  const during = events.filter(({ seq }) => seq > from && seq < to);
  const unique = (some: readonly JournalEvent[]): string[] => [
    ...new Set(some.map(({ operationId }) => operationId ?? '')),
  ];
  const kindOf = (pattern: RegExp) => during.filter(({ kind }) => pattern.test(kind));
  const before = events.filter(({ seq }) => seq < from);
  const ended = new Set(unique(before.filter(({ kind }) => ENDING.test(kind))));
  const acceptedBefore = unique(before.filter(({ kind }) => kind === 'admitted')).filter(
    (id) => !ended.has(id),
  );
  const advanced = new Set(unique(kindOf(ADVANCING)));
  const admitted = unique(kindOf(/^admitted$/));
  const carriedOn = acceptedBefore.filter((id) => advanced.has(id));
  return {
    acceptedBefore,
    continued: [...carriedOn, ...admitted],
    stopped: unique(kindOf(STOPPING)),
    refused: kindOf(/^refused$/).length,
    tally: {
      acceptedBefore: acceptedBefore.length,
      advanced: carriedOn.length,
      admitted: admitted.length,
      executed: kindOf(/^(succeeded|failed)$/).length,
      stopped: unique(kindOf(STOPPING)).length,
      unknown: kindOf(/^unknown$/).length,
      refused: kindOf(/^refused$/).length,
      refusalRecords: kindOf(/^refused$/).length,
    },
  };
}

/** By pages of two, to the end. */
function wholeOf<T>(page: (at: ListPage) => Listed<T>): T[] {
  const all: T[] = [];
  for (let afterSeq: number | null = 0; afterSeq !== null;) {
    const { items, nextSeq } = page({ afterSeq, limit: 2 });
    all.push(...items);
    afterSeq = nextSeq;
  }
  return all;
}

function expectToldRight({ journal }: AgedJournal): void {
  const { recovery } = journal.reader;
  const events = journal.reader.keptAndLaterEvents(0, 10_000);
  const outages = recovery.outages({ beforeSeq: Number.MAX_SAFE_INTEGER, limit: 100 });
  for (const span of outages) {
    const expected = expectedOf(events, span.afterSeq, span.beforeSeq);
    const { outage } = span;
    expect(outage.tally ?? journal.openTally(outage.outageId)).toMatchObject(expected.tally);
    expect(recovery.recount(span)).toMatchObject(expected.tally);
    const idsOf = (all: readonly { operationId: string }[]) =>
      all.map(({ operationId }) => operationId);
    // Found by name, and looked for as where they are too many to be named.
    for (const each of [span, { ...span, unfinished: null }]) {
      expect(idsOf(wholeOf((at) => recovery.acceptedBefore(each, at)))).toEqual(
        expected.acceptedBefore,
      );
      expect(idsOf(wholeOf((at) => recovery.continued(each, at)))).toEqual(expected.continued);
    }
    expect(idsOf(wholeOf((at) => recovery.stopped(span, at)))).toEqual(expected.stopped);
    expect(wholeOf((at) => recovery.refused(span, at))).toHaveLength(expected.refused);
  }
}

test('I8, I12: each count is that of its list, and both are what was written', async () => {
  await fc.assert(
    fc.asyncProperty(historyOf, async (history) => {
      const aged = openAged();
      await live(aged, [
        ['admit', 'a'],
        ['start', 'a'],
        ['admit', 'b'],
        ['outage', ''],
        ...history,
      ]);
      expectToldRight(aged);
      await aged.reopen();
      expectToldRight(aged);
      expectSound(aged.files);
    }),
    { numRuns: 40 },
  );
}, 60_000);

test('a refusal that stands for several counts as several, and is listed once', async () => {
  const aged = openAged();
  await aged.outage();
  await aged.refuse('one');
  const [first] = aged.journal.reader.refusals(1);
  if (first === undefined) throw new Error('it was not recorded');
  await aged.journal.submit({ type: 'refuse', refusal: { ...first, refusalId: 'many', count: 7 } });
  await aged.reopen();
  await aged.outage();
  const { outage } = aged.journal.reader.recovery.latestOutage() ?? {};
  expect(outage?.tally).toMatchObject({
    refused: 8,
    refusedByReason: { [first.reason]: 8 },
    refusalRecords: 2,
  });
});

test('what is not on the page does not make it longer: it is short, and says where to go on', async () => {
  const aged = openAged();
  await aged.admit('old');
  for (let count = 0; count < 30; count += 1) await aged.done(`k${count}`);
  await aged.outage();
  const span = aged.journal.reader.recovery.latestOutage();
  if (span === null) throw new Error('there is none');
  // As where the first that was unfinished is far back: it goes by steps, and comes to the end.
  const found = wholeOf((at) =>
    aged.journal.reader.recovery.acceptedBefore({ ...span, firstSeq: 0, unfinished: null }, at),
  );
  expect(found.map(({ operationId }) => operationId)).toEqual(['op_old']);
});
