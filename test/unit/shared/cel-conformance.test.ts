import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ALLOWED_FUNCTIONS } from '../../../shared/platform/cel-cost.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import { CEL_DIFFERENCES } from '../../data/cel-differences.ts';
import { conformanceTests, runConformance } from '../../fakes/cel-conformance.ts';

const DESIGN = readFileSync(join(import.meta.dirname, '../../../shared/DESIGN.md'), 'utf8');

describe("the specification's own conformance data", () => {
  const judged = conformanceTests().map((one) => ({ ...one, verdict: runConformance(one) }));
  const named = (verdict: string) => judged.filter((one) => one.verdict.verdict === verdict);

  test('is there, and most of what concerns policy agrees', () => {
    expect(judged.length).toBeGreaterThan(2_000);
    expect(named('agrees').length).toBeGreaterThan(900);
  });

  test('differs exactly where the table says', () => {
    const differing = named('differs').map(({ name, verdict }) => ({ name, ...verdict }));
    const listed = CEL_DIFFERENCES.flatMap(({ tests }) => tests);
    expect(new Set(listed).size).toBe(listed.length);
    expect(differing.filter(({ name }) => !listed.includes(name))).toEqual([]);
    const names = new Set(differing.map(({ name }) => name));
    expect(listed.filter((name) => !names.has(name))).toEqual([]);
  });

  test('and the design document tells each kind', () => {
    const rows = CEL_DIFFERENCES.map(({ what, effect }) => `| ${what} | ${effect} |`);
    expect(rows.filter((row) => !DESIGN.includes(row))).toEqual([]);
  });

  test('touches nothing that is refused without a way out', () => {
    for (const { verdict } of named('refused')) {
      expect(verdict).toMatchObject({ why: expect.stringMatching(/: .|, which is as deep/) });
    }
  });
});

describe('what is allowed', () => {
  test('is what the design document lists', () => {
    const listed = /Allowed are `([^`]+)`/.exec(DESIGN)?.[1]?.split(/\s+/) ?? [];
    expect(listed.toSorted()).toEqual([...ALLOWED_FUNCTIONS].toSorted());
  });

  test.each(['matches', 'map', 'split', 'join', 'format', 'reverse', 'bytes'])(
    '%s() is not, and the problem says so',
    (name) => {
      expect(compileCel(`attributes.s.${name}("a", "b") == 1`)).toMatchObject({ ok: false });
    },
  );
});
