import { describe, expect, test } from 'vitest';
import {
  countSilent,
  judgePresence,
  letGo,
  presenceAtStart,
  type BrakeTerms,
  type Heard,
  type Presence,
} from '../../../control/core/placement-brake.ts';

const START_MS = 1_000_000;
const LOST_MS = 30_000;
const at = (ms: number): BrakeTerms => ({
  nowMs: START_MS + ms,
  startedBootMs: START_MS,
  lostAfterMs: LOST_MS,
  share: 0.5,
});
/** Twenty hosts, heard at these moments after the start. */
const fleet = (heardAt: (index: number) => number | null): Heard[] =>
  Array.from({ length: 20 }, (_, index) => {
    const heard = heardAt(index);
    return { hostId: `h${index}`, heardBootMs: heard === null ? null : START_MS + heard };
  });
const CALM: Presence = { brake: null, lost: new Map() };

/** Round after round, a second apart, as control does it. */
function play(
  from: Presence,
  fromMs: number,
  toMs: number,
  heardAt: (index: number, nowMs: number) => number | null,
) {
  let presence = from;
  const lostAt = new Map<string, number>();
  const brakes: string[] = [];
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 1_000) {
    const before = presence.brake;
    presence = judgePresence(
      presence,
      fleet((index) => heardAt(index, nowMs)),
      at(nowMs),
    );
    for (const hostId of presence.lost.keys()) if (!lostAt.has(hostId)) lostAt.set(hostId, nowMs);
    if (before?.sinceBootMs !== presence.brake?.sinceBootMs) {
      brakes.push(`${presence.brake?.reason ?? 'off'}@${nowMs}`);
    }
  }
  return { presence, lostAt, brakes };
}

/** Those from `cut` on are silent since 100 s, the others sync every five seconds at their own moment. */
const cutAt =
  (cut: number, backMs = Number.POSITIVE_INFINITY) =>
  (index: number, nowMs: number) => {
    const offset = (index * 797) % 5_000;
    const latest = nowMs - ((nowMs - offset) % 5_000);
    return index < cut || nowMs >= backMs ? latest : Math.min(latest, 100_000 - 5_000 + offset);
  };

describe('many hosts silent at once', () => {
  test('15 of 20: none is taken for lost before twice the time, and then all are', () => {
    const { lostAt, brakes } = play(CALM, 100_000, 200_000, cutAt(5));
    expect(brakes).toHaveLength(2);
    expect(brakes[0]).toMatch(/^mass_loss@11[0-9]{4}$/);
    expect(lostAt.size).toBe(15);
    for (const lostMs of lostAt.values()) expect(lostMs).toBeGreaterThanOrEqual(170_000);
  });

  test('1 of 20: it is lost after the usual time, without a brake', () => {
    const { lostAt, brakes } = play(CALM, 100_000, 140_000, cutAt(19));
    expect(brakes).toEqual([]);
    expect([...lostAt.keys()]).toEqual(['h19']);
    expect(lostAt.get('h19')).toBeLessThanOrEqual(131_000);
  });

  test('they come back: the brake is let go, and nobody was lost', () => {
    const { lostAt, brakes, presence } = play(CALM, 100_000, 160_000, cutAt(5, 140_000));
    expect(lostAt.size).toBe(0);
    expect(brakes.at(-1)).toBe('off@140000');
    expect(presence.brake).toBeNull();
  });

  test('an operator lets it go: the silent are lost at once, and it does not come on again', () => {
    const braked = play(CALM, 100_000, 125_000, cutAt(5)).presence;
    expect(braked.brake?.reason).toBe('mass_loss');
    const hosts = fleet((index) => cutAt(5)(index, 125_000));
    const free = letGo(braked, hosts, at(125_000));
    expect(free.lost.size).toBe(15);
    const { brakes, presence } = play(free, 126_000, 200_000, cutAt(5));
    expect([brakes, presence.lost.size]).toEqual([[], 15]);
  });

  test('who was taken for lost counts no more, until it is heard', () => {
    const { presence } = play(CALM, 100_000, 140_000, cutAt(19));
    const hosts = fleet((index) => cutAt(19)(index, 140_000));
    expect(countSilent(hosts, presence.lost, at(140_000))).toEqual({ silent: 0, of: 19 });
    expect(play(presence, 141_000, 142_000, cutAt(20)).presence.lost.size).toBe(0);
  });
});

describe('after a start', () => {
  test('the brake is on until every host has been heard', () => {
    const start = presenceAtStart(20, at(0));
    const hearing = (index: number, nowMs: number) => (nowMs >= index * 500 ? nowMs : null);
    const { brakes, presence } = play(start, 0, 20_000, hearing);
    expect(brakes).toEqual(['off@10000']);
    expect(presence.lost.size).toBe(0);
  });

  test('who does not come within twice the time is lost then, be it all of them', () => {
    const { lostAt, brakes } = play(presenceAtStart(20, at(0)), 0, 70_000, () => null);
    expect(brakes).toEqual(['off@60000']);
    expect(lostAt.get('h0')).toBe(60_000);
  });

  test('without hosts there is nobody to wait for', () => {
    expect(presenceAtStart(0, at(0)).brake).toBeNull();
  });
});
