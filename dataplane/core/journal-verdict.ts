/**
 * Whether the journal on disk is the one that is remembered. Nothing is repaired and nothing is
 * guessed: whatever does not fit is a verdict with its evidence, and a person decides.
 *
 * V1  Behind what is remembered, or with another hash in a remembered place: something was lost or
 *     put in its stead. Ahead of the head file is what a kill between COMMIT and that write leaves.
 * V2  Where somebody remembers a journal and there is none, an empty one would forget every key and
 *     every fence: it is never made.
 * V3  Only where nobody remembers anything is a journal new.
 * V4  A journal that was pruned begins no earlier than is remembered of it, and no later than
 *     control holds it: it would have forgotten what was not reported.
 */

/** An entry of the chain by its number and hash; `seq` 0 before the first. */
export type ChainPlace = { readonly seq: number; readonly hash: string };

export type JournalMemory = {
  /** The newest entry. */
  readonly head: ChainPlace;
  /** The newest that control holds. */
  readonly acked: ChainPlace;
  /** Up to where it was pruned; `seq` 0 where nothing was. */
  readonly pruned: ChainPlace;
};

export type HeadFileRead =
  | { readonly kind: 'absent' }
  | { readonly kind: 'damaged'; readonly detail: string }
  | ({ readonly kind: 'read' } & JournalMemory);

export type Remembered = {
  readonly headFile: HeadFileRead;
  /** This host has been given a name, and therefore has had a journal. */
  readonly isEnrolled: boolean;
  /** What the sidecar found while it ran, or what a restore left undone. */
  readonly loss: string | null;
};

export type FoundJournal =
  /** `walBytes`: of a write-ahead log that lies there without its database. */
  | { readonly kind: 'absent'; readonly walBytes: number }
  /** No byte or no table: what a first start leaves that was killed while it made the file. */
  | { readonly kind: 'empty'; readonly detail: string }
  | { readonly kind: 'unreadable'; readonly detail: string }
  | {
      readonly kind: 'readable';
      readonly head: ChainPlace;
      /** As the journal itself has it; `null` where it does not say. */
      readonly acked: ChainPlace | null;
      /** The place after which its entries are all there; `seq` 0 where nothing was pruned. */
      readonly pruned: ChainPlace;
      /** Hashes of the entries that the memories name, where there are such entries. */
      readonly hashes: ReadonlyMap<number, string>;
      readonly broken: { readonly seq: number; readonly detail: string } | null;
    };

type Damage = { readonly evidence: readonly string[] };
export type JournalDamage = Damage &
  (
    | { readonly kind: 'missing' }
    | { readonly kind: 'unreadable' }
    | { readonly kind: 'broken_chain'; readonly seq: number }
    | { readonly kind: 'lost' }
  );
export type JournalVerdict =
  | { readonly kind: 'ok'; readonly head: ChainPlace; readonly pruned: ChainPlace }
  | { readonly kind: 'fresh' }
  | JournalDamage;

export function judgeJournal(found: FoundJournal, remembered: Remembered): JournalVerdict {
  const memories = memoriesOf(remembered);
  switch (found.kind) {
    case 'absent':
      if (found.walBytes > 0)
        memories.push(`${found.walBytes} bytes of its write-ahead log are there`);
      if (memories.length === 0) return { kind: 'fresh' };
      return { kind: 'missing', evidence: ['the database is not there', ...memories] };
    case 'empty':
      if (memories.length === 0) return { kind: 'fresh' };
      return { kind: 'lost', evidence: [found.detail, ...memories] };
    case 'unreadable':
      return { kind: 'unreadable', evidence: [found.detail, ...memories] };
    case 'readable':
      return judgeReadable(found, remembered);
  }
}

type Readable = Extract<FoundJournal, { kind: 'readable' }>;

function judgeReadable(found: Readable, remembered: Remembered): JournalVerdict {
  const { headFile, loss } = remembered;
  const evidence = loss === null ? [] : [loss];
  if (headFile.kind === 'read') {
    evidence.push(...differences(found, headFile.head, 'journal.head'));
    // One that was pruned since is proved by the head, which is further: by the chain between.
    if (headFile.acked.seq > found.pruned.seq)
      evidence.push(
        ...differences(found, headFile.acked, 'what control acknowledged, by journal.head,'),
      );
    evidence.push(...beginningBefore(found, headFile.pruned));
  } else if (found.head.seq > 0 || remembered.isEnrolled || headFile.kind === 'damaged') {
    // V1: a database without its memory may be any older copy of itself.
    evidence.push(
      `${headFile.kind === 'damaged' ? headFile.detail : 'journal.head is not there'}: ` +
        `nothing says whether entry ${found.head.seq} is where this journal ended`,
    );
  }
  if (found.acked !== null)
    evidence.push(...differences(found, found.acked, 'what control acknowledged'));
  if (found.pruned.seq > 0 && found.pruned.seq >= (found.acked?.seq ?? 0))
    evidence.push(
      `the journal was pruned up to entry ${found.pruned.seq} and control holds it up to entry ${found.acked?.seq ?? 0}`,
    );
  if (found.broken !== null) {
    const { seq, detail } = found.broken;
    return { kind: 'broken_chain', seq, evidence: [`entry ${seq} ${detail}`, ...evidence] };
  }
  if (evidence.length > 0) return { kind: 'lost', evidence: [...new Set(evidence)] };
  return { kind: 'ok', head: found.head, pruned: found.pruned };
}

/** V1. */
function differences(found: Readable, place: ChainPlace, memory: string): string[] {
  if (place.seq === 0) return [];
  if (place.seq > found.head.seq)
    return [`the journal ends at entry ${found.head.seq} and ${memory} is at entry ${place.seq}`];
  const hash = found.hashes.get(place.seq);
  if (hash === place.hash) return [];
  return [
    `entry ${place.seq} ${hash === undefined ? 'is not there' : `has hash ${short(hash)}`} ` +
      `and ${memory} has ${short(place.hash)}`,
  ];
}

/** V4. */
function beginningBefore(found: Readable, remembered: ChainPlace): string[] {
  if (remembered.seq < found.pruned.seq) return [];
  if (remembered.seq === found.pruned.seq && remembered.hash === found.pruned.hash) return [];
  return [
    `the journal was pruned up to entry ${found.pruned.seq} (${short(found.pruned.hash)}) ` +
      `and journal.head has entry ${remembered.seq} (${short(remembered.hash)})`,
  ];
}

/** V2, V3: what there is beside the database that speaks of a journal. */
function memoriesOf({ headFile, isEnrolled, loss }: Remembered): string[] {
  const memories: string[] = [];
  if (headFile.kind === 'read')
    memories.push(`journal.head remembers it up to entry ${headFile.head.seq}`);
  if (headFile.kind === 'damaged') memories.push(headFile.detail);
  if (isEnrolled) memories.push('identity.json says that this host is in service');
  if (loss !== null) memories.push(loss);
  return memories;
}

function short(hash: string): string {
  return `${hash.slice(0, 12)}…`;
}
