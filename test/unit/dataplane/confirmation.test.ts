import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import {
  confirmedAt,
  noteConfirmation,
  type Confirmation,
} from '../../../dataplane/core/confirmation.ts';
import type { Instant } from '../../../shared/core/time.ts';

const at = (bootMs: number): Instant => ({ wallMs: bootMs, bootMs, bootId: 'boot-1' });

function confirmed(
  answers: readonly (readonly [newestRevision: number, sentMs: number])[],
  inUse: { activeRevision: number; rejectedRevision?: number },
): number | null {
  let confirmations: readonly Confirmation[] = [];
  for (const [newestRevision, sentMs] of answers) {
    confirmations = noteConfirmation(confirmations, { newestRevision, sentAt: at(sentMs) });
  }
  return confirmedAt(confirmations, { rejectedRevision: null, ...inUse })?.bootMs ?? null;
}

describe('I5: what an answer confirms', () => {
  test.each([
    ['the same revision', [[5, 10]], { activeRevision: 5 }, 10],
    ['an older one than is in force', [[4, 10]], { activeRevision: 5 }, 10],
    ['none published', [[0, 10]], { activeRevision: 5 }, 10],
    ['a newer one', [[6, 10]], { activeRevision: 5 }, null],
    [
      'a newer one after the same',
      [
        [5, 10],
        [6, 20],
      ],
      { activeRevision: 5 },
      10,
    ],
    [
      'a newer one, now in force',
      [
        [5, 10],
        [6, 20],
      ],
      { activeRevision: 6 },
      20,
    ],
    [
      'the one refused here',
      [
        [5, 10],
        [6, 20],
      ],
      { activeRevision: 5, rejectedRevision: 6 },
      20,
    ],
    [
      'a newer one than that refused',
      [
        [5, 10],
        [6, 20],
        [7, 30],
      ],
      { activeRevision: 5, rejectedRevision: 6 },
      20,
    ],
    [
      'the same again and again',
      [
        [5, 10],
        [5, 20],
        [5, 30],
      ],
      { activeRevision: 5 },
      30,
    ],
    [
      'a fall back to an older revision',
      [
        [5, 10],
        [6, 20],
        [6, 90],
      ],
      { activeRevision: 5 },
      10,
    ],
    ['nothing at all', [], { activeRevision: 5 }, null],
  ] as const)('%s', (_, answers, inUse, expected) => {
    expect(confirmed(answers, inUse)).toBe(expected);
  });

  test('I5: never younger than the last answer that named nothing newer, nor than any answer at all', () => {
    const answers = fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 40 });
    fc.assert(
      fc.property(answers, fc.integer({ min: 1, max: 6 }), (revisions, activeRevision) => {
        const sent = revisions.map((revision, index) => [revision, index + 1] as const);
        const exact = sent.findLast(([revision]) => revision <= activeRevision)?.[1] ?? null;
        // Few are kept, so a proof may be forgotten; that only makes the authority older.
        const mayForget = new Set(revisions).size > 4;
        const allowed = mayForget ? [exact, null] : [exact];
        expect(allowed).toContain(confirmed(sent, { activeRevision }));
      }),
      { numRuns: 1_000 },
    );
  });
});
