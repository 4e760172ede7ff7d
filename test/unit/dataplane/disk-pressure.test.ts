import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import {
  diskMarks,
  judgeDisk,
  missingBytes,
  pressureDetail,
  type DiskPressure,
  type DiskView,
} from '../../../dataplane/core/disk-pressure.ts';

const MIB = 1024 * 1024;
const marks = diskMarks(64 * MIB, 1_024 * MIB);
const STEP_BYTES = MIB;

/** What others do to the free space between two looks. */
const changes = fc.array(fc.integer({ min: -90 * MIB, max: 90 * MIB }), {
  minLength: 1,
  maxLength: 200,
});

type Look = DiskView & { readonly before: DiskPressure; readonly verdict: DiskVerdictSeen };
type DiskVerdictSeen = ReturnType<typeof judgeDisk>;

/** As the watch does it: look, and do to the ballast what the verdict says, until others write. */
function looksOver(startFreeBytes: number, byBytes: readonly number[]): Look[] {
  const looks: Look[] = [];
  let before: DiskPressure = 'ample';
  let ballastBytes = 0;
  let freeBytes = startFreeBytes;
  for (const change of byBytes) {
    freeBytes = Math.max(0, freeBytes + change);
    // Bounded: a ballast that grows and is released for ever would never come to rest.
    for (let step = 0; ; step += 1) {
      expect(step).toBeLessThan(200);
      const view = { freeBytes, ballastBytes };
      const verdict = judgeDisk(before, view, marks);
      looks.push({ ...view, before, verdict });
      before = verdict.pressure;
      if (verdict.ballast === 'keep') break;
      const grown = Math.min(STEP_BYTES, marks.ballastBytes - ballastBytes);
      const taken = verdict.ballast === 'grow' ? grown : -ballastBytes;
      ballastBytes += taken;
      freeBytes -= taken;
    }
  }
  return looks;
}

function everyLook(check: (look: Look, earlier: readonly Look[]) => void): void {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 400 * MIB }), changes, (freeBytes, byBytes) => {
      const looks = looksOver(freeBytes, byBytes);
      for (const [at, look] of looks.entries()) check(look, looks.slice(0, at));
    }),
    { numRuns: 100 },
  );
}

describe('I1, I8: a disk that fills up, over generated sequences of what others write', () => {
  test('P1: nothing new is admitted without the room of the soft mark beside a whole ballast', () => {
    everyLook(({ freeBytes, ballastBytes, verdict }) => {
      if (verdict.pressure !== 'ample') return;
      expect(freeBytes + ballastBytes).toBeGreaterThanOrEqual(marks.softBytes + marks.ballastBytes);
    });
  });

  test('P2: below the hard mark no ballast is kept from accepted work', () => {
    everyLook(({ freeBytes, ballastBytes, verdict }) => {
      if (freeBytes >= marks.hardBytes || ballastBytes === 0) return;
      expect(verdict).toEqual({ pressure: 'hard', ballast: 'release' });
    });
  });

  test('P3: a ballast grows only while new work is admitted, and never past the soft mark', () => {
    everyLook(({ freeBytes, ballastBytes, verdict }) => {
      if (verdict.ballast !== 'grow') return;
      expect(verdict.pressure).toBe('ample');
      const growthBytes = marks.ballastBytes - ballastBytes;
      expect(freeBytes - growthBytes).toBeGreaterThanOrEqual(marks.softBytes);
    });
  });

  test('P4: what was refused is admitted again only a margin above the mark', () => {
    everyLook(({ before, freeBytes, ballastBytes, verdict }) => {
      if (before === 'ample' || verdict.pressure !== 'ample') return;
      const { softBytes, marginBytes } = marks;
      expect(freeBytes + ballastBytes).toBeGreaterThanOrEqual(
        softBytes + marks.ballastBytes + marginBytes,
      );
    });
  });

  test('with room again it admits by itself, and its ballast is whole when it has come to rest', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 * MIB }), changes, (freeBytes, byBytes) => {
        const last = looksOver(freeBytes, [...byBytes, 400 * MIB]).at(-1);
        expect(last).toMatchObject({
          verdict: { pressure: 'ample', ballast: 'keep' },
          ballastBytes: marks.ballastBytes,
        });
      }),
      { numRuns: 100 },
    );
  });

  test('what is said to be missing is enough, and nothing less is', () => {
    everyLook(({ freeBytes, ballastBytes, verdict: { pressure } }) => {
      const missing = missingBytes(pressure, { freeBytes, ballastBytes }, marks);
      const withMore = (bytes: number): DiskPressure =>
        judgeDisk(pressure, { freeBytes: freeBytes + bytes, ballastBytes }, marks).pressure;
      expect(withMore(missing)).toBe('ample');
      if (missing === 0) return;
      expect(withMore(missing - 1)).not.toBe('ample');
    });
  });
});

describe('marks', () => {
  test('are as asked where there is room, and a share of a small file system', () => {
    expect(diskMarks(64 * MIB, 100 * 1_024 * MIB)).toEqual({
      ballastBytes: 64 * MIB,
      softBytes: 64 * MIB,
      hardBytes: 16 * MIB,
      marginBytes: 16 * MIB,
    });
    expect(diskMarks(64 * MIB, 16 * MIB)).toEqual({
      ballastBytes: 2 * MIB,
      softBytes: 2 * MIB,
      hardBytes: MIB / 2,
      marginBytes: MIB / 2,
    });
    expect(diskMarks(0, 100 * 1_024 * MIB).ballastBytes).toBe(0);
  });

  test('a refusal names what is free, the mark, and what has to become free', () => {
    const view = { freeBytes: 40 * MIB, ballastBytes: 64 * MIB };
    const said = pressureDetail('soft', view, marks);
    expect(said).toContain('40.0 MiB are free');
    expect(said).toContain('new work needs 64.0 MiB beside a ballast of 64.0 MiB');
    expect(said).toContain('as soon as 40.0 MiB more are free');
  });
});
