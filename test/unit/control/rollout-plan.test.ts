import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { parseStages, pickHosts, placeOf, stageText } from '../../../control/core/rollout-plan.ts';

describe('stages as they are written', () => {
  test('labels, a percentage, or both, each with its bake time', () => {
    expect(parseStages(['canary=true/10m', 'zone=eu&tier=web&25%/1h30m', '100%'])).toEqual({
      ok: true,
      stages: [
        { labels: { canary: 'true' }, percentage: 100, bakeMs: 600_000 },
        { labels: { zone: 'eu', tier: 'web' }, percentage: 25, bakeMs: 5_400_000 },
        { labels: {}, percentage: 100, bakeMs: 0 },
      ],
    });
  });

  test.each([
    [['5%/10m'], /the last stage must be 100%/],
    [[], /the last stage must be 100%/],
    [['canary=true'], /the last stage must be 100%/],
    [['0%', '100%'], /stage 0% is none/],
    [['101%', '100%'], /stage 101% is none/],
    [['5%/10', '100%'], /stage 5%\/10 is none/],
    [['5%/1m/2m', '100%'], /is none/],
    [['a=b=c', '100%'], /is none/],
    [['a=b&a=c', '100%'], /is none/],
    [['canary', '100%'], /is none/],
    [['5%&6%', '100%'], /is none/],
    [Array<string>(11).fill('100%'), /at most 10 stages/],
  ])('%j is refused', (texts, problem) => {
    const parsed = parseStages(texts);
    expect(parsed).toMatchObject({ ok: false });
    expect(parsed.ok ? '' : parsed.problem).toMatch(problem);
  });

  test('are written back as they were, but for the time', () => {
    const parsed = parseStages(['canary=true', 'zone=eu&25%', '100%']);
    expect(parsed.ok && parsed.stages.map(stageText)).toEqual([
      'canary=true',
      'zone=eu&25%',
      '100%',
    ]);
  });
});

describe('which hosts a stage takes', () => {
  const hostsOf = (count: number, revision: number) =>
    Array.from({ length: count }, (_, index) => ({
      hostId: `host_${index}`,
      labels: {},
      place: placeOf(revision, `host_${index}`),
    }));
  const stage = (percentage: number) => ({ labels: {}, percentage, bakeMs: 0 });

  test('property: a percentage of any hosts is that many, at least one, whatever their order', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 100 }),
        (count, percentage) => {
          const hosts = hostsOf(count, 7);
          const picked = pickHosts([stage(percentage)], hosts);
          expect(picked.size).toBe(Math.ceil((count * percentage) / 100));
          expect(pickHosts([stage(percentage)], hosts.toReversed())).toEqual(picked);
        },
      ),
    );
  });

  test('property: a later stage keeps the hosts of the earlier ones', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 50 }),
        (less, more) => {
          const hosts = hostsOf(40, 3);
          const first = pickHosts([stage(less)], hosts);
          const both = pickHosts([stage(less), stage(more)], hosts);
          for (const hostId of first) expect(both).toContain(hostId);
        },
      ),
    );
  });

  test('another revision is tried on other hosts', () => {
    const picks = [1, 2, 3, 4].map((revision) =>
      [...pickHosts([stage(1)], hostsOf(100, revision))].join(''),
    );
    expect(new Set(picks).size).toBeGreaterThan(2);
  });

  test('by labels: all of them must fit', () => {
    const hosts = [
      { hostId: 'a', labels: { zone: 'eu', tier: 'web' }, place: 1 },
      { hostId: 'b', labels: { zone: 'eu' }, place: 2 },
    ];
    const of = (labels: Record<string, string>) => [
      ...pickHosts([{ labels, percentage: 100, bakeMs: 0 }], hosts),
    ];
    expect(of({ zone: 'eu' })).toEqual(['a', 'b']);
    expect(of({ zone: 'eu', tier: 'web' })).toEqual(['a']);
    expect(of({ toString: 'x' })).toEqual([]);
  });
});
