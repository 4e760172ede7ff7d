import { describe, expect, test } from 'vitest';
import {
  beginActivation,
  countDeaths,
  endActivation,
  isQuarantined,
  type ActivationMark,
} from '../../../dataplane/core/activation-marker.ts';
import { judgeBundle, type HeldRevisions } from '../../../dataplane/core/bundle-acceptance.ts';

const revision = (policyRevision: number, policyDigest = `digest-${policyRevision}`) => ({
  policyRevision,
  policyDigest,
});
const HELD: HeldRevisions = {
  controlId: 'ctl_1',
  active: revision(5),
  highWater: revision(5),
  rejected: null,
};

function judge(
  offered: { policyRevision: number; policyDigest: string; controlId?: string },
  held: Partial<HeldRevisions> = {},
): string {
  const verdict = judgeBundle({ controlId: 'ctl_1', ...offered }, { ...HELD, ...held });
  return verdict.verdict === 'refused' ? verdict.reason : verdict.verdict;
}

describe('whether a genuine bundle is considered', () => {
  test.each([
    ['the first ever', revision(1), { active: null, highWater: null }, 'consider'],
    ['a newer one', revision(6), {}, 'consider'],
    ['one that jumps', revision(900), {}, 'consider'],
    ['the one in force', revision(5), {}, 'unchanged'],
    ['an older one', revision(4), {}, 'revision_regressed'],
    ['the same number with another content', revision(5, 'other'), {}, 'revision_conflict'],
    ['another control', { ...revision(6), controlId: 'ctl_2' }, {}, 'wrong_audience'],
    ['one refused before', revision(6), { rejected: revision(6) }, 'rejected_before'],
    [
      'one refused before, with another content',
      revision(6, 'other'),
      { rejected: revision(6) },
      'revision_conflict',
    ],
    ['a newer one than was refused', revision(7), { rejected: revision(6) }, 'consider'],
    [
      'the highest, while an older one serves for it',
      revision(5),
      { active: revision(4) },
      'consider',
    ],
    [
      'one between what serves and the highest',
      revision(4),
      { active: revision(3) },
      'revision_regressed',
    ],
    [
      'the highest with another content, while an older one serves',
      revision(5, 'other'),
      { active: revision(4) },
      'revision_conflict',
    ],
  ] as const)('%s', (_, offered, held, expected) => {
    expect(judge(offered, held)).toBe(expected);
  });

  test('reasons keep their order of precedence', () => {
    expect(judge({ ...revision(4, 'other'), controlId: 'ctl_2' })).toBe('wrong_audience');
    expect(judge(revision(4), { rejected: revision(4) })).toBe('revision_regressed');
  });
});

describe('I11: deaths', () => {
  const die = (marks: readonly ActivationMark[]): readonly ActivationMark[] =>
    countDeaths(beginActivation(marks, revision(6)));

  test('one death is tried again, two are quarantine', () => {
    const once = die([]);
    expect(isQuarantined(once, revision(6))).toBe(false);
    const twice = die(once);
    expect(isQuarantined(twice, revision(6))).toBe(true);
    expect(isQuarantined(twice, revision(6, 'other'))).toBe(false);
  });

  test('a restart in between costs no death', () => {
    const once = die([]);
    expect(isQuarantined(countDeaths(countDeaths(once)), revision(6))).toBe(false);
  });

  test('an activation that was survived clears the mark, and only its own', () => {
    const marks = beginActivation(die([]), revision(7));
    expect(endActivation(marks, revision(7)).map((mark) => mark.policyRevision)).toEqual([6]);
    expect(endActivation(endActivation(marks, revision(7)), revision(6))).toEqual([]);
  });
});
