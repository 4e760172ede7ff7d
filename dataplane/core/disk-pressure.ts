/**
 * What a disk that fills up means for new and for accepted work, and what becomes of the ballast.
 *
 * P1  New work needs room beside all that is kept for accepted work: what is free together with
 *     what the ballast holds is measured, so that making or releasing it changes no answer by
 *     itself.
 * P2  Accepted work never waits for room that the ballast holds: below the hard mark it is released.
 * P3  A ballast grows only while new work is admitted: it takes no room from accepted work.
 * P4  Once refused, new work is admitted again only a margin above the mark: no answer flaps on the
 *     blocks that one commit takes and one checkpoint gives back.
 */

/** `ample` admits; `soft` refuses new work; `hard` refuses it too, and the ballast is released. */
export const DISK_PRESSURES = ['ample', 'soft', 'hard'] as const;
export type DiskPressure = (typeof DISK_PRESSURES)[number];

export type DiskMarks = {
  /** Of the whole ballast; 0 where there is to be none. */
  readonly ballastBytes: number;
  /** New work is refused where less is free beside the whole ballast. */
  readonly softBytes: number;
  /** The ballast is released where less is free. */
  readonly hardBytes: number;
  /** So much above the mark, new work is admitted again. */
  readonly marginBytes: number;
};

export type DiskView = {
  /** For whoever is not root. */
  readonly freeBytes: number;
  /** What the ballast takes up as it is now. */
  readonly ballastBytes: number;
};

export type DiskVerdict = {
  readonly pressure: DiskPressure;
  readonly ballast: 'keep' | 'grow' | 'release';
};

export const SOFT_BYTES_MAX = 64 * 1024 * 1024;
/** Of the file system, for each of the two: a small one is not to be half reserve. */
const SHARE_OF_DISK = 1 / 8;
const HARD_SHARE = 1 / 4;
const MARGIN_SHARE = 1 / 4;

/** On a file system that is too small for what was asked, all of it is less. */
export function diskMarks(askedBallastBytes: number, totalBytes: number): DiskMarks {
  const shareBytes = Math.floor(totalBytes * SHARE_OF_DISK);
  const softBytes = Math.min(SOFT_BYTES_MAX, shareBytes);
  return {
    ballastBytes: Math.min(askedBallastBytes, shareBytes),
    softBytes,
    hardBytes: Math.floor(softBytes * HARD_SHARE),
    marginBytes: Math.floor(softBytes * MARGIN_SHARE),
  };
}

/** `before` is the verdict of the last look; `ample` at the start. */
export function judgeDisk(before: DiskPressure, view: DiskView, marks: DiskMarks): DiskVerdict {
  const { freeBytes, ballastBytes } = view;
  if (missingBytes(before, view, marks) === 0)
    return { pressure: 'ample', ballast: ballastBytes < marks.ballastBytes ? 'grow' : 'keep' };
  if (before !== 'hard' && freeBytes >= marks.hardBytes)
    return { pressure: 'soft', ballast: 'keep' };
  return { pressure: 'hard', ballast: ballastBytes > 0 ? 'release' : 'keep' };
}

/** What has to become free before new work is admitted. */
export function missingBytes(before: DiskPressure, view: DiskView, marks: DiskMarks): number {
  const marginBytes = before === 'ample' ? 0 : marks.marginBytes;
  const neededBytes = marks.softBytes + marks.ballastBytes + marginBytes;
  // A ballast larger than it should be is room that is kept, and none that new work may have.
  const heldBytes = Math.min(view.ballastBytes, marks.ballastBytes);
  return Math.max(0, neededBytes - view.freeBytes - heldBytes);
}

/** For whoever is refused, and for whoever looks at its health. */
export function pressureDetail(pressure: DiskPressure, view: DiskView, marks: DiskMarks): string {
  const free = `${mib(view.freeBytes)} are free`;
  const { ballastBytes } = view;
  const held =
    ballastBytes === 0 ? 'no ballast is held' : `a ballast of ${mib(ballastBytes)} is held`;
  if (pressure === 'ample') return `${free}, ${held}`;
  const missing = mib(missingBytes(pressure, view, marks));
  const reserve = pressure === 'soft' ? held : 'the ballast was released for accepted work';
  return (
    `${free} on the file system of the journal and new work needs ${mib(marks.softBytes)} beside ` +
    `a ballast of ${mib(marks.ballastBytes)}; ${reserve}. Accepted work goes on; new work is ` +
    `admitted again by itself as soon as ${missing} more are free: remove files or enlarge the disk`
  );
}

function mib(bytes: number): string {
  return `${(bytes / (1024 * 1024)).toFixed(1)} MiB`;
}
