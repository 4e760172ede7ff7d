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
 */

export type Floor = {
  /** The run of control that wrote it. */
  readonly run: number;
  /** Epochs up to here may have been given. */
  readonly epoch: number;
  /** Revisions up to here may have been given. */
  readonly policyRevision: number;
};

/** What is remembered outside the database; `null` where there is none. */
export type Remembered = { readonly floor: Floor | null; readonly markedEpoch: number };
export type StoreState = { readonly run: number; readonly highestEpoch: number };

/** F3. `run` of a new store is 0. */
export function isRolledBack(store: StoreState, remembered: Remembered): boolean {
  if (remembered.floor === null) return store.run > 0;
  return remembered.floor.run !== store.run || remembered.markedEpoch > store.highestEpoch;
}

export const EPOCH_BLOCK = 1_000;

/** F1: the floor to write before `epoch` is given, or `null` where the present one covers it. */
export function raiseFloor(
  floor: Floor,
  given: { epoch?: number; policyRevision?: number },
): Floor | null {
  const epoch = given.epoch ?? 0;
  const policyRevision = given.policyRevision ?? 0;
  if (epoch <= floor.epoch && policyRevision <= floor.policyRevision) return null;
  return {
    run: floor.run,
    epoch: epoch > floor.epoch ? epoch + EPOCH_BLOCK : floor.epoch,
    policyRevision: Math.max(policyRevision, floor.policyRevision),
  };
}

/**
 * Nothing real jumps so far: a number beyond it is a fault of the host, or of an app that invents
 * tokens.
 */
const EPOCH_JUMP_MAX = 1_000_000_000;
const REVISION_JUMP_MAX = 1_000_000;

/** What a host says it has seen, or `null` where it cannot be. */
export function plausibleEpoch(reported: number, highestKnown: number): number | null {
  return reported <= highestKnown + EPOCH_JUMP_MAX ? reported : null;
}

export function plausibleRevision(reported: number, highestKnown: number): number | null {
  return reported <= highestKnown + REVISION_JUMP_MAX ? reported : null;
}
