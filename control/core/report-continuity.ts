/**
 * Whether a report continues what control holds of a host's journal (I12): in order, without a gap,
 * and under the same chain of hashes.
 *
 * C1  What was acknowledged is never stored twice: events up to the acknowledged position are
 *     skipped. They are skipped only as what they were: one that differs from what is stored under
 *     its number is another history, also where the report ends before the acknowledged position.
 * C2  The first event that is new follows the acknowledged one in number and in hash.
 * C3  A host that was enrolled again begins anew: its first report may start anywhere, because its
 *     old journal may be gone. A start that is not the beginning and not the continuation is a
 *     loss, and is said to be one.
 */

export type ReportPosition = {
  /** Host epoch of the events that brought it here. */
  readonly hostEpoch: number;
  readonly seq: number;
  readonly hash: string;
};

type Link = { readonly seq: number; readonly previousHash: string; readonly hash: string };

export type Continuity =
  | {
      readonly kind: 'accept';
      readonly fromIndex: number;
      readonly lost: { from: number; to: number } | null;
    }
  | { readonly kind: 'duplicate' }
  | { readonly kind: 'gap'; readonly expectedSeq: number; readonly gotSeq: number }
  | { readonly kind: 'conflict'; readonly seq: number; readonly detail: string };

/** `events` are not empty. */
export function checkContinuity(
  acked: ReportPosition,
  events: readonly Link[],
  source: {
    readonly hostEpoch: number;
    readonly firstHash: string;
    /** By number, of this host epoch: what is stored of the events up to the acknowledged one. */
    readonly storedHashes: ReadonlyMap<number, string>;
  },
): Continuity {
  for (let index = 1; index < events.length; index += 1) {
    const [previous, event] = [events[index - 1], events[index]];
    if (previous === undefined || event === undefined) continue;
    if (event.seq !== previous.seq + 1) {
      return { kind: 'gap', expectedSeq: previous.seq + 1, gotSeq: event.seq };
    }
    if (event.previousHash !== previous.hash) {
      return {
        kind: 'conflict',
        seq: event.seq,
        detail: 'does not follow the event before it in the report',
      };
    }
  }
  const first = events[0];
  if (first === undefined) return { kind: 'duplicate' };
  if (acked.hostEpoch !== source.hostEpoch)
    return checkFirstOfEpoch(acked, first, source.firstHash);

  const fromIndex = events.findIndex(({ seq }) => seq > acked.seq);
  const held = fromIndex === -1 ? events : events.slice(0, fromIndex);
  const heldHash = (seq: number): string | undefined =>
    seq === acked.seq ? acked.hash : source.storedHashes.get(seq);
  const rewritten = held.find(({ seq, hash }) => (heldHash(seq) ?? hash) !== hash);
  if (rewritten !== undefined) {
    return {
      kind: 'conflict',
      seq: rewritten.seq,
      detail: 'has another hash than the one acknowledged',
    };
  }
  const next = fromIndex === -1 ? undefined : events[fromIndex];
  if (next === undefined) return { kind: 'duplicate' };
  if (next.seq !== acked.seq + 1) {
    return { kind: 'gap', expectedSeq: acked.seq + 1, gotSeq: next.seq };
  }
  if (next.previousHash !== acked.hash) {
    return {
      kind: 'conflict',
      seq: next.seq,
      detail: `does not follow the acknowledged event ${acked.seq}`,
    };
  }
  return { kind: 'accept', fromIndex, lost: null };
}

/** C3. */
function checkFirstOfEpoch(acked: ReportPosition, first: Link, firstHash: string): Continuity {
  const isBeginning = first.seq === 1 && first.previousHash === firstHash;
  const isContinuation = first.seq === acked.seq + 1 && first.previousHash === acked.hash;
  if (first.seq === 1 && !isBeginning) {
    return { kind: 'conflict', seq: 1, detail: 'the first event does not follow 64 zeros' };
  }
  const lost = isBeginning || isContinuation ? null : { from: 1, to: first.seq - 1 };
  return { kind: 'accept', fromIndex: 0, lost };
}
