/** What a worker could take now, read in slices so that a long row of what it could not holds up nobody. */
import type { OwnershipVerdict } from '../../shared/core/lease.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Pause } from '../../shared/platform/slices.ts';
import { comesFirst, isClaimable, rangeOf, type ClaimPlace } from '../core/claim.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import type { ClaimQueries } from '../journal/claim-queries.ts';

/** Of the concrete actions that patterns stand for, looked at in one search. */
const ACTIONS_MAX = 256;
const PAGE_MAX = 32;
const EXAMINED_PER_SLICE = 100;

export type Candidate = {
  readonly operationId: string;
  readonly ownership: OwnershipVerdict | null;
};
export type Search = {
  readonly app: string;
  readonly patterns: readonly string[];
  readonly limit: number;
  /** Those that others are about to take. */
  readonly taken: ReadonlySet<string>;
  readonly isOver: () => boolean;
};
type Found = {
  readonly candidates: readonly Candidate[];
  /** Leases that this host would need for what it passed over. */
  readonly missingLeases: ReadonlySet<string>;
};
type Row = ClaimPlace & { readonly action: string };

export class ClaimSearch {
  readonly #queries: ClaimQueries;
  readonly #ownershipOf: (operation: StoredOperation) => OwnershipVerdict | null;
  readonly #clock: Clock;
  readonly #pause: Pause;
  /** Where more actions have work than one search looks at, the next begins after the last of them. */
  #afterAction = '';

  constructor(parts: {
    queries: ClaimQueries;
    ownershipOf: (operation: StoredOperation) => OwnershipVerdict | null;
    clock: Clock;
    pause: Pause;
  }) {
    this.#queries = parts.queries;
    this.#ownershipOf = parts.ownershipOf;
    this.#clock = parts.clock;
    this.#pause = parts.pause;
  }

  /** In the order in which they are to go. What is found may be gone when the writer looks. */
  async find({ app, patterns, limit, taken, isOver }: Search): Promise<Found> {
    const candidates: Candidate[] = [];
    const missingLeases = new Set<string>();
    const rows = this.#inOrder(app, this.#actionsOf(app, patterns), Math.min(limit, PAGE_MAX));
    let examined = 0;
    for (const { seq, action } of rows) {
      examined += 1;
      if (examined % EXAMINED_PER_SLICE === 0) {
        await this.#pause();
        if (isOver()) break;
      }
      const operation = this.#queries.operation(seq);
      if (operation === null || taken.has(operation.operationId)) continue;
      if (!isClaimable(operation, action, this.#clock.now())) continue;
      const ownership = this.#ownershipOf(operation);
      if (ownership !== null && !ownership.owned) {
        missingLeases.add(operation.leaseResource ?? '');
        continue;
      }
      candidates.push({ operationId: operation.operationId, ownership });
      if (candidates.length >= limit) break;
    }
    return { candidates, missingLeases };
  }

  #actionsOf(app: string, patterns: readonly string[]): readonly string[] {
    const actions = new Set<string>();
    for (const pattern of patterns) {
      const range = rangeOf(pattern);
      const room = ACTIONS_MAX - actions.size;
      if (range === null) actions.add(pattern);
      else if (room > 0) {
        const { after, before } = range;
        const from = this.#afterAction > after && this.#afterAction < before;
        const start = from ? this.#afterAction : after;
        const found = this.#queries.actions(app, { after: start, before }, room);
        if (from && found.length < room)
          found.push(...this.#queries.actions(app, range, room - found.length));
        this.#afterAction = found.length === room ? (found.at(-1) ?? '') : '';
        for (const action of found) actions.add(action);
      }
    }
    return [...actions];
  }

  /** The rows of several actions as one, each read as far as it is needed. */
  *#inOrder(app: string, actions: readonly string[], pageSize: number): Generator<Row> {
    const heads: { row: Row; rest: Iterator<Row> }[] = [];
    for (const action of actions) {
      const rest = this.#rowsOf(app, action, pageSize);
      const first = rest.next();
      if (first.done !== true) heads.push({ row: first.value, rest });
    }
    while (heads.length > 0) {
      let next = 0;
      for (const [index, { row }] of heads.entries())
        if (comesFirst(row, heads[next]?.row ?? row)) next = index;
      const head = heads[next];
      if (head === undefined) return;
      yield head.row;
      const after = head.rest.next();
      if (after.done === true) heads.splice(next, 1);
      else head.row = after.value;
    }
  }

  *#rowsOf(app: string, action: string, pageSize: number): Generator<Row> {
    let after: ClaimPlace = { deadlineAtMs: 0, seq: 0 };
    for (;;) {
      const page = this.#queries.page(app, action, after, pageSize);
      for (const place of page) yield { ...place, action };
      const last = page.at(-1);
      if (last === undefined || page.length < pageSize) return;
      after = last;
    }
  }
}
