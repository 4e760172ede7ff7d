/**
 * Numbers that must never be given twice, even by a control whose database is an older copy (I6,
 * I11).
 *
 * F1  The floor file is written before a number above it is given, in blocks, so that the fsync is
 *     rare.
 * F2  After a start the first number is above everything the store, the floor file and any host
 *     know.
 * F3  A store that is behind the floor file's memory of it is an older copy: grants may be unknown
 *     to it.
 * F4  Each run counts epochs from the wall clock on (`wallEpoch`), by one. A snapshot of the whole
 *     directory takes the floors back too and shows nothing of it; its counter starts above what
 *     was granted since all the same, while the wall clock is right. When it is not, F1 and F2 are
 *     what is left, and F6.
 * F5  An older copy stays one over further starts, until every lease of before has ended: the floor
 *     file says so (`recovering`). Leases up to `disownedEpoch` are never renewed again: the copy
 *     says who held them then, not now.
 * F6  An epoch that a host has seen, above what the store knew at its start and not of this run,
 *     proves an older copy late. `judgeSeenEpoch` says what follows from it.
 */

export type Floor = {
  /** The run of control that wrote it. */
  readonly run: number;
  /** Epochs up to here may have been given. */
  readonly epoch: number;
  /** Revisions up to here may have been given. */
  readonly policyRevision: number;
  /** Numbers of notices up to here may have been given. */
  readonly noticeSequence: number;
  /** F5: of an older copy; 0 where there never was one. */
  readonly disownedEpoch: number;
  /** F5. `everything`: the floor is not to be trusted either, so revisions are not known. */
  readonly recovering: Recovering;
};

export type Recovering = 'no' | 'leases' | 'everything';

/** What is remembered outside the database; `null` where there is none. */
export type Remembered = { readonly floor: Floor | null; readonly markedEpoch: number };
export type StoreState = { readonly run: number; readonly highestEpoch: number };

/** F3. `run` of a new store is 0. */
export function isRolledBack(store: StoreState, remembered: Remembered): boolean {
  if (remembered.floor === null) return store.run > 0;
  return remembered.floor.run !== store.run || remembered.markedEpoch > store.highestEpoch;
}

/** How a start finds the store: what `recovering` of its floor is. */
export function recoveringAtStart(store: StoreState, remembered: Remembered): Recovering {
  const { floor } = remembered;
  if (floor?.recovering === 'everything') return 'everything';
  if (!isRolledBack(store, remembered)) return floor?.recovering ?? 'no';
  // A floor of an earlier run than the store's is a copy itself.
  return floor === null || floor.run < store.run ? 'everything' : 'leases';
}

/** 2020-01-01, UTC. */
const WALL_EPOCH_ZERO_MS = 1_577_836_800_000;
/** More grants than this in each millisecond of a run would outrun the clock; it has no such rate. */
const EPOCHS_PER_MS = 1_000;

/** F4: a million for each second since 2020; it reaches 2^53 in the year 2305. */
export function wallEpoch(wallMs: number): number {
  return Math.max(0, Math.floor(wallMs) - WALL_EPOCH_ZERO_MS) * EPOCHS_PER_MS;
}

/** F2, F5: the floor with which a run begins. */
export function floorAtStart(
  store: StoreState & { readonly policyRevision: number },
  remembered: Remembered,
  { run, wallMs }: { readonly run: number; readonly wallMs: number },
): Floor {
  const { floor, markedEpoch } = remembered;
  const epoch = Math.max(
    store.highestEpoch,
    floor?.epoch ?? 0,
    markedEpoch,
    floor?.disownedEpoch ?? 0,
    wallEpoch(wallMs),
  );
  return {
    run,
    epoch,
    policyRevision: Math.max(store.policyRevision, floor?.policyRevision ?? 0),
    noticeSequence: floor?.noticeSequence ?? 0,
    // Found by an earlier start: what that run granted above its own is of this store.
    disownedEpoch: isRolledBack(store, remembered) ? epoch : (floor?.disownedEpoch ?? 0),
    recovering: recoveringAtStart(store, remembered),
  };
}

export const EPOCH_BLOCK = 1_000;

/** F1: the floor to write before `epoch` is given, or `null` where the present one covers it. */
export function raiseFloor(
  floor: Floor,
  given: { epoch?: number; policyRevision?: number; noticeSequence?: number },
): Floor | null {
  const epoch = given.epoch ?? 0;
  const policyRevision = given.policyRevision ?? 0;
  const noticeSequence = given.noticeSequence ?? 0;
  const isCovered =
    epoch <= floor.epoch &&
    policyRevision <= floor.policyRevision &&
    noticeSequence <= floor.noticeSequence;
  if (isCovered) return null;
  return {
    ...floor,
    epoch: epoch > floor.epoch ? epoch + EPOCH_BLOCK : floor.epoch,
    policyRevision: Math.max(policyRevision, floor.policyRevision),
    noticeSequence: Math.max(noticeSequence, floor.noticeSequence),
  };
}

/**
 * Nothing real jumps so far: a number beyond it is a fault of the host.
 */
const REVISION_JUMP_MAX = 1_000_000;
const CLOCK_AHEAD_MAX_MS = 24 * 60 * 60 * 1_000;

/**
 * What a host says it has seen, or `null` where it cannot be: no run of a control whose clock was
 * at most a day ahead can have granted it. So no host moves the counter further than time does.
 */
export function plausibleEpoch(
  reported: number,
  highestKnown: number,
  wallMs: number,
): number | null {
  const highest = Math.max(highestKnown, wallEpoch(wallMs + CLOCK_AHEAD_MAX_MS));
  return reported <= highest ? reported : null;
}

/**
 * F6. `lost_before`: granted by a run that this store has lost, below what this one grants; its
 * holder has ended a term after this start. `above`: this run has granted epochs that are not above
 * it; they are disowned, and their holders end a term after now.
 */
export function judgeSeenEpoch(
  seen: number,
  known: {
    /** In the store at the start of this run. */
    readonly storedAtStart: number;
    /** From where this run counts. */
    readonly epochAtStart: number;
    readonly highest: number;
  },
): 'known' | 'lost_before' | 'above' {
  if (seen > Math.max(known.highest, known.epochAtStart)) return 'above';
  return seen > known.storedAtStart && seen <= known.epochAtStart ? 'lost_before' : 'known';
}

export function plausibleRevision(reported: number, highestKnown: number): number | null {
  return reported <= highestKnown + REVISION_JUMP_MAX ? reported : null;
}
