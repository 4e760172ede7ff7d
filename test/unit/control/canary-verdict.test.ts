import { describe, expect, test } from 'vitest';
import { judgeTrials, type Trial } from '../../../control/core/canary-verdict.ts';
import { foldReport, type HostFacts, type SelfReport } from '../../../control/core/host-facts.ts';
import { refusesMore } from '../../../control/core/refusal-ratio.ts';

const tally = (policyRevision: number, admitted: number, refused: number) => ({
  policyRevision,
  admitted,
  refused,
  ruleErrors: 0,
});

describe('refusing clearly more', () => {
  const share = (decisions: number, refused: number) => ({ decisions, refused });

  test.each([
    ['too few decisions after', share(1_000, 0), share(49, 49), false],
    ['too few before', share(49, 0), share(1_000, 1_000), false],
    ['as before', share(1_000, 50), share(1_000, 50), false],
    ['fewer', share(1_000, 500), share(1_000, 5), false],
    ['significant, but a rise of less than 2 %', share(1_000_000, 0), share(100_000, 1_900), false],
    ['a rise of 4 % on few decisions', share(100, 1), share(100, 5), false],
    ['a rise of 9 % over a quiet past', share(1_000, 10), share(50, 5), true],
    ['from none to all', share(50, 0), share(50, 50), true],
    ['all as before', share(50, 50), share(50, 50), false],
  ])('%s', (_, before, after, isMore) => {
    expect(refusesMore(before, after, 4)).toBe(isMore);
  });

  test('a sidecar whose refusals are as before is hardly ever taken for one that is not', () => {
    // A fixed sequence of a generator with a long period: 2,000 fair comparisons, each looked at
    // as it grows.
    let state = 42;
    const unit = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
    let alarms = 0;
    for (let trial = 0; trial < 200; trial += 1) {
      const before = share(
        2_000,
        Array.from({ length: 2_000 }, unit).filter((x) => x < 0.1).length,
      );
      let refused = 0;
      for (let decisions = 1; decisions <= 1_000; decisions += 1) {
        refused += unit() < 0.1 ? 1 : 0;
        if (decisions % 10 === 0 && refusesMore(before, share(decisions, refused), 4)) {
          alarms += 1;
          break;
        }
      }
    }
    expect(alarms).toBeLessThanOrEqual(1);
  });
});

describe('hosts that try a revision', () => {
  const facts = (over: Partial<HostFacts> = {}): HostFacts => ({
    labels: {},
    processId: 'p',
    policyRevision: 2,
    sinceMs: 1,
    highWaterRevision: 2,
    rejected: null,
    deaths: null,
    offered: { policyRevision: 2, atMs: 1, restarts: 0 },
    sent: [],
    tallies: [],
    ...over,
  });
  const trials = (...all: (Partial<HostFacts> & { silentMs?: number })[]): Trial[] =>
    all.map(({ silentMs = 0, ...over }, index) => ({
      hostId: `host_${index}`,
      hostName: `host-${index}`,
      silentMs,
      facts: facts(over),
    }));
  const judge = (hosts: Trial[], others = { hosts: 10, silent: 0 }) =>
    judgeTrials({ candidate: 2, base: 1 }, hosts, others, 60_000);
  const many = (count: number, over: Partial<HostFacts> & { silentMs?: number }) =>
    trials(...Array.from({ length: 100 }, (_, index) => (index < count ? over : {})));

  test('nothing is wrong', () => {
    expect(judge(trials({}, {}))).toBeNull();
    expect(judge([])).toBeNull();
    expect(judge(trials({ rejected: { policyRevision: 1, reason: 'an older one' } }))).toBeNull();
  });

  test('one that rejects it is enough, of however many', () => {
    const verdict = judge(many(1, { rejected: { policyRevision: 2, reason: 'policy_invalid' } }));
    expect(verdict).toMatchObject({ kind: 'rejected', hostNames: ['host-0'] });
  });

  test('one that died twice is enough; once may be chance', () => {
    expect(judge(many(1, { deaths: { policyRevision: 2, deaths: 2 } }))?.kind).toBe('crashed');
    expect(judge(many(1, { deaths: { policyRevision: 2, deaths: 1 } }))).toBeNull();
    expect(judge(many(1, { deaths: { policyRevision: 1, deaths: 2 } }))).toBeNull();
  });

  test('restarts and silence count when there are too many: one of ten, ten of a hundred', () => {
    const restarts = { offered: { policyRevision: 2, atMs: 1, restarts: 3 } };
    expect(judge(trials(restarts))?.kind).toBe('crashed');
    expect(judge(many(9, restarts))).toBeNull();
    expect(judge(many(10, restarts))?.kind).toBe('crashed');
    expect(judge(many(9, { silentMs: 60_000 }))).toBeNull();
    expect(judge(many(10, { silentMs: 60_000 }))?.kind).toBe('silent');
    expect(judge(many(10, { silentMs: 59_999 }))).toBeNull();
  });

  test('silence is not the revision where most others are silent too', () => {
    const silent = trials({ silentMs: 60_000 });
    expect(judge(silent, { hosts: 10, silent: 6 })).toBeNull();
    expect(judge(silent, { hosts: 10, silent: 5 })?.kind).toBe('silent');
    expect(judge(silent, { hosts: 0, silent: 0 })?.kind).toBe('silent');
  });

  test('refusals of all together, and of one among many', () => {
    const worse = { tallies: [tally(2, 80, 20), tally(1, 990, 10)] };
    expect(judge(trials(worse, {}))).toMatchObject({ kind: 'refusals', hostNames: ['host-0'] });
    const fine = { tallies: [tally(2, 9_900, 100), tally(1, 9_900, 100)] };
    expect(judge(trials(worse, fine, fine))).toMatchObject({ hostNames: ['host-0'] });
    expect(judge(trials(fine, fine))).toBeNull();
    // Nothing to compare with.
    expect(judge(trials({ tallies: [tally(2, 0, 500)] }))).toBeNull();
  });
});

describe('what hosts say of themselves', () => {
  const say = (held: HostFacts | null, over: Partial<SelfReport> = {}, target = 2): HostFacts =>
    foldReport(
      held,
      {
        processId: 'a',
        policyRevision: 1,
        policyRejected: null,
        highWater: { policyRevision: 1 },
        ...over,
      },
      { targetRevision: target, nowMs: 9 },
    );

  test('counters go on over a start of the process, and over a sync that is told twice', () => {
    const one = say(null, { decisions: [tally(1, 5, 1)] });
    const again = say(one, { decisions: [tally(1, 5, 1)] });
    const more = say(again, { decisions: [tally(1, 8, 1)] });
    const restarted = say(more, { processId: 'b', decisions: [tally(1, 2, 2)] });
    expect(restarted.tallies).toEqual([tally(1, 10, 3)]);
  });

  test('restarts count from the moment a revision was offered', () => {
    const before = say(say(null), { processId: 'b' }, 2);
    expect(before.offered).toMatchObject({ policyRevision: 2, restarts: 1 });
    const next = say(before, { processId: 'c' }, 3);
    expect(next.offered).toMatchObject({ policyRevision: 3, restarts: 0 });
    expect(say(next, { processId: 'd' }, 3).offered).toMatchObject({ restarts: 1 });
  });

  test('only the newest revisions are kept', () => {
    const held = [1, 2, 3, 4, 5, 6].reduce<HostFacts | null>(
      (facts, revision) =>
        say(facts, { processId: `${revision}`, decisions: [tally(revision, 1, 0)] }),
      null,
    );
    expect(held?.tallies.map(({ policyRevision }) => policyRevision)).toEqual([6, 5, 4, 3]);
  });
});
