import { describe, expect, test } from 'vitest';
import { growBatch } from '../../../dataplane/core/report-batch.ts';
import {
  PACE_AT_START,
  paceAfterBatch,
  paceAfterFailure,
  paceAfterRefusal,
  type ReportPace,
} from '../../../dataplane/core/report-pace.ts';
import type { ReportEntry } from '../../../shared/wire/report-lines.ts';

const entry = (seq: number): ReportEntry => ({
  seq,
  atMs: 0,
  kind: 'paused',
  operationId: null,
  outageId: null,
  bodyText: '{}',
  hash: '0'.repeat(64),
});

describe('I12: a batch', () => {
  const grown = (seqs: readonly number[], afterSeq: number, lengthMax = 1_000) => {
    const batch = { entries: [] as ReportEntry[], length: 0 };
    const at = { afterSeq, bounds: { eventsMax: 3, lengthMax } };
    const growth = growBatch(batch, seqs.map(entry), at, () => 100);
    return { kind: growth.kind, seqs: batch.entries.map(({ seq }) => seq) };
  };

  test.each([
    ['nothing new', [], 4, undefined, 'more', []],
    ['what follows', [5, 6], 4, undefined, 'more', [5, 6]],
    ['at most so many', [5, 6, 7, 8], 4, undefined, 'full', [5, 6, 7]],
    ['at most so long', [5, 6, 7], 4, 250, 'full', [5, 6]],
    ['one entry, whatever its size', [5, 6], 4, 10, 'full', [5]],
    ['only what is consecutive', [5, 6, 8], 4, undefined, 'full', [5, 6]],
    ['entries that are gone', [7, 8], 4, undefined, 'history_gone', []],
  ] as const)('%s', (_, seqs, afterSeq, lengthMax, kind, expected) => {
    expect(grown(seqs, afterSeq, lengthMax)).toEqual({ kind, seqs: expected });
  });
});

describe('I10, I12: the pace of a backlog', () => {
  const taken = { tookMs: 20, loopUse: 0, backlog: { now: 900, before: 1_000 }, eventsMax: 2_000 };
  const after = (count: number, over: Partial<typeof taken>, from = PACE_AT_START): ReportPace => {
    let pace = from;
    for (let at = 0; at < count; at += 1) pace = paceAfterBatch(pace, { ...taken, ...over });
    return pace;
  };

  test('where there is room, batch follows batch, and each is larger', () => {
    expect(after(1, {})).toEqual({ restMs: 0, eventsMax: 1_000 });
    expect(after(9, {})).toEqual({ restMs: 0, eventsMax: 2_000 });
  });

  test('a busy thread gets rests, of at most four batches and a quarter of a second', () => {
    const settled = (loopUse: number, tookMs = 1_000): number =>
      after(99, { loopUse, tookMs }).restMs;
    expect(settled(0.5)).toBe(0);
    expect([settled(0.625, 100), settled(0.75, 100), settled(0.875, 50), settled(1, 50)]).toEqual([
      49, 99, 124, 199,
    ]);
    expect(settled(1)).toBe(249);
    expect(after(1, { loopUse: 1 }).restMs).toBe(40);
  });

  test('no rest lets the backlog grow, and none outlasts the load', () => {
    const tired = after(99, { loopUse: 1 });
    expect(after(1, { loopUse: 1, backlog: { now: 1_000, before: 1_000 } }, tired).restMs).toBe(39);
    expect(after(9, { loopUse: 0.2 }, tired).restMs).toBe(0);
  });

  test('slow answers, failures and refusals make batches smaller, down to one entry', () => {
    expect(after(1, { tookMs: 900 }).eventsMax).toBe(250);
    expect(after(99, { tookMs: 900 }).eventsMax).toBe(50);
    expect(paceAfterFailure(PACE_AT_START).eventsMax).toBe(250);
    let pace = paceAfterRefusal(PACE_AT_START, 40);
    expect(pace.eventsMax).toBe(20);
    while (pace.eventsMax > 1) pace = paceAfterRefusal(pace, pace.eventsMax);
    expect(paceAfterRefusal(pace, 1).eventsMax).toBe(1);
    expect(after(1, { eventsMax: 2_000 }, pace).eventsMax).toBe(50);
  });
});
