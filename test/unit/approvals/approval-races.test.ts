/**
 * Both sides of an approval, without a network: any order of votes, deliveries, reports, restarts
 * from copies, expiry, cancellation and revisions, with messages late, lost and twice. One outcome,
 * the same on both sides (I2, I3, I8).
 */
import { describe, expect, test } from 'vitest';
import {
  actorOf,
  isSamePerson,
  judgeVerdict,
  wordAbout,
  type Asked,
} from '../../../control/core/approval.ts';
import { foldAdmission, foldChange } from '../../../control/core/approval-fold.ts';
import { useOf, type ApprovalUse } from '../../../dataplane/core/approval-use.ts';
import { applyLifecycleEvent } from '../../../dataplane/core/operation-lifecycle.ts';
import { problemOfWord } from '../../../dataplane/core/operation-approval.ts';
import {
  hasEnded,
  type JournalNote,
  type LifecycleEvent,
  type StoredOperation,
} from '../../../dataplane/core/operation-record.ts';
import type { Instant } from '../../../shared/core/time.ts';
import type {
  ApprovalRequest,
  ApprovalStatement,
  OperationApproval,
} from '../../../shared/wire/approval.ts';
import { fc } from '../../fakes/properties.ts';
import { asked, pendingApproval } from '../../fakes/stored-approval.ts';
import { operation } from '../../fakes/stored-operation.ts';

const START: Instant = { wallMs: 1_000_000, bootMs: 50_000, bootId: 'boot-1' };
const TTL_MS = 300_000;
const SOURCE = { hostId: 'host_1', hostEpoch: 1 };
const DIGEST = 'a'.repeat(64);
const PEOPLE = ['ann', 'bob', 'cat', 'billing', 'dan'] as const;

/** What control remembers: it can be put back to an earlier copy of all of it. */
type Control = {
  readonly requests: ReadonlyMap<string, ApprovalRequest>;
  readonly waiting: ReadonlyMap<string, ApprovalStatement>;
  readonly ackedSeq: number;
};

class World {
  now = START;
  held: StoredOperation;
  /** Entries of the host's journal; the first is the admission. */
  readonly journal: (JournalNote | null)[] = [null];
  control: Control = { requests: new Map(), waiting: new Map(), ackedSeq: 0 };
  copy: Control = this.control;
  /** Everything that control ever signed may arrive, at any time, again. */
  readonly signed: ApprovalStatement[] = [];
  /** How often the work was let go. */
  approvals = 0;
  use: 'fits' | 'ask_anew' | 'refused' = 'fits';
  /** Control has taken it back, and nothing made it forget that. */
  isTakenBack = false;

  constructor(required: number) {
    this.held = operation({
      state: 'awaiting_approval',
      fingerprint: DIGEST,
      deadlineAtMs: START.wallMs + 10 * TTL_MS,
      deadlineBoot: { bootId: START.bootId, bootMs: START.bootMs + 10 * TTL_MS },
      approval: pendingApproval({
        ...asked('apr_1', { required, ttlMs: TTL_MS, expiresAtMs: START.wallMs + TTL_MS }),
      }),
    });
    this.admitted = this.held;
  }

  readonly admitted: StoredOperation;

  get approval(): OperationApproval {
    if (this.held.approval === undefined) throw new Error('it had one');
    return this.held.approval;
  }

  get current(): ApprovalRequest | undefined {
    return this.control.requests.get(this.approval.requestId);
  }

  vote(
    name: (typeof PEOPLE)[number],
    verb: Asked['verb'],
    options: { stale?: boolean } = {},
  ): void {
    const last = [...this.control.requests.values()].at(-1);
    if (last === undefined) return;
    const verdict = judgeVerdict(last, {
      verb,
      voter: { name, roles: new Set(name === 'dan' ? ['viewer'] : ['approver', 'security']) },
      digest: options.stale === true ? 'b'.repeat(64) : DIGEST,
      reason: `${name} says ${verb}`,
      nowMs: this.now.wallMs,
      hostEpoch: 1,
      isUsed: false,
    });
    if (options.stale === true) expect(verdict.kind).not.toBe('changed');
    if (verdict.kind !== 'changed') return;
    const { request, outcome } = verdict;
    const word = outcome === null ? null : wordAbout(request, { outcome, controlId: 'ctl_1' });
    if (word !== null) this.signed.push(word);
    this.isTakenBack ||= outcome === 'withdrawn';
    this.control = {
      ...this.control,
      requests: new Map(this.control.requests).set(request.requestId, request),
      waiting:
        word === null
          ? this.control.waiting
          : new Map(this.control.waiting).set(request.requestId, word),
    };
  }

  /** A word arrives, this or another time. */
  deliver(word: ApprovalStatement): void {
    if (problemOfWord(this.held, word) !== null) return;
    this.apply({
      kind: 'settle_approval',
      word,
      statement: 'signed',
      use: word.outcome === 'approved' ? this.#useNow(word) : null,
    });
  }

  #useNow(word: ApprovalStatement): ApprovalUse | null {
    const at = { operation: this.held, requestId: `apr_${this.journal.length}x`, now: this.now };
    const { required } = this.approval;
    const approval = {
      required: this.use === 'ask_anew' ? Math.min(3, required + 1) : required,
      role: 'security',
      ttlMs: TTL_MS,
      onControlLoss: 'wait' as const,
      showPayload: false,
    };
    if (this.use === 'refused')
      return { kind: 'refused', policyRevision: 2, code: 'denied', detail: 'no' };
    const plan = {
      kind: 'decided',
      decision: { rule: 'capture' },
      terms: { approval },
      basis: { policyRevision: 2 },
    };
    return useOf(plan as never, word, at);
  }

  apply(event: LifecycleEvent): void {
    const result = applyLifecycleEvent(this.held, event, this.now);
    if (!result.ok || result.note === null) return;
    const { note } = result;
    this.#check(event, result.operation);
    if (this.held.state === 'awaiting_approval' && result.operation.state === 'accepted') {
      this.approvals += 1;
    }
    this.held = result.operation;
    // As it is read again.
    this.journal.push(JSON.parse(JSON.stringify(note)) as JournalNote);
  }

  #check(event: LifecycleEvent, next: StoredOperation): void {
    if (event.kind !== 'settle_approval') {
      expect([this.held.state, next.state]).not.toEqual(['awaiting_approval', 'accepted']);
      return;
    }
    // What has begun is not unmade, and no word is about another request than its own.
    if (this.held.attempt > 0) expect(next.state).toBe(this.held.state);
    expect(event.word.requestId).toBe(this.approval.requestId);
    if (next.state !== 'accepted') return;
    const { required, expiresAtMs, ...said } = next.approval ?? this.approval;
    expect(this.now.wallMs).toBeLessThan(expiresAtMs);
    const by = new Set(said.votes.map((vote) => vote.by));
    expect(by.size).toBeGreaterThanOrEqual(required);
    for (const name of ['billing', 'dan']) expect(by).not.toContain(actorOf({ name }));
  }

  /** Control takes in the next entries; the same again where it was put back to an earlier copy. */
  report(count: number): void {
    const upTo = Math.min(this.journal.length, this.control.ackedSeq + count);
    const requests = new Map(this.control.requests);
    const waiting = new Map(this.control.waiting);
    for (const entry of this.journal.slice(this.control.ackedSeq, upTo)) {
      for (const request of this.#fold(requests, entry)) {
        requests.set(request.requestId, request);
        if (request.delivery !== 'waiting') waiting.delete(request.requestId);
      }
    }
    this.control = { requests, waiting, ackedSeq: upTo };
  }

  #fold(
    requests: ReadonlyMap<string, ApprovalRequest>,
    entry: JournalNote | null,
  ): readonly ApprovalRequest[] {
    const source = { ...SOURCE, receivedAtMs: this.now.wallMs };
    const known = [...requests.values()].findLast(({ state }) => state !== 'superseded');
    if (entry === null) return foldAdmission(known, this.admitted, source);
    const approval = entry.body['approval'] as OperationApproval | undefined;
    if (known === undefined || approval === undefined) return [];
    return foldChange(known, { kind: entry.kind, approval }, source);
  }

  pass(ms: number): void {
    this.now = { ...this.now, wallMs: this.now.wallMs + ms, bootMs: this.now.bootMs + ms };
  }

  /** Nobody does anything more, and everything arrives. */
  settle(): void {
    for (let round = 0; round < 8; round += 1) {
      this.report(100);
      for (const word of this.control.waiting.values()) this.deliver(word);
    }
    this.pass(20 * TTL_MS);
    this.apply({ kind: 'expire_approval' });
    this.report(100);
  }
}

type Step = (world: World) => void;

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: votes() },
  {
    weight: 4,
    arbitrary: fc.nat(20).map((at): Step => (world) => {
      const word = world.signed[at % Math.max(1, world.signed.length)];
      if (word !== undefined) world.deliver(word);
    }),
  },
  {
    weight: 4,
    arbitrary: fc.integer({ min: 1, max: 3 }).map(
      (n): Step =>
        (w) =>
          w.report(n),
    ),
  },
  { weight: 1, arbitrary: fc.constant<Step>((w) => (w.copy = w.control)) },
  {
    weight: 1,
    arbitrary: fc.constant<Step>((w) => {
      w.control = w.copy;
      w.isTakenBack = false;
    }),
  },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.pass(TTL_MS / 2)) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.apply({ kind: 'expire_approval' })) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.apply({ kind: 'cancel', reason: 'app' })) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.apply({ kind: 'lose_control' })) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.apply({ kind: 'regain_control' })) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('fits', 'ask_anew', 'refused').map((use): Step => (w) => {
      w.use = use;
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constant<Step>((w) =>
      w.apply({ kind: 'start_attempt', supersede: false, key: null, ownership: null }),
    ),
  },
);

function votes(): fc.Arbitrary<Step> {
  return fc
    .record({
      name: fc.constantFrom(...PEOPLE),
      verb: fc.constantFrom('approve', 'approve', 'approve', 'deny', 'withdraw'),
      stale: fc.boolean(),
    })
    .map(
      ({ name, verb, stale }): Step =>
        (world) =>
          world.vote(name, verb, { stale: stale && verb !== 'withdraw' }),
    );
}

/** Deliberately many: the interesting orders are rare. */
const RUNS = 3_000;

describe('races of an approval', () => {
  test('I2, I3, I8: one outcome, the same on both sides, in any order', () => {
    const outcomes = new Map<string, number>();
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3 }),
        fc.array(steps, { maxLength: 25 }),
        (required, todo) => {
          const world = new World(required);
          for (const step of todo) step(world);
          world.settle();
          expect(world.approvals).toBeLessThanOrEqual(1);
          expect(world.approval.state).not.toBe('pending');
          expect(world.current?.state).toBe(world.approval.state);
          expect(world.current?.delivery).toBe('confirmed');
          expect(world.control.waiting.size).toBe(0);
          const [hasBegun, hasHappened] = [world.held.attempt > 0, hasEnded(world.held)];
          expect(world.approvals >= Number(hasBegun)).toBe(true);
          const mustHaveEnded = world.approvals === 0 || (world.isTakenBack && !hasBegun);
          expect(hasHappened || !mustHaveEnded).toBe(true);
          const { state } = world.approval;
          outcomes.set(state, (outcomes.get(state) ?? 0) + 1);
        },
      ),
      { numRuns: RUNS },
    );
    // It has been everywhere.
    expect([...outcomes.keys()].toSorted((a, b) => a.localeCompare(b))).toEqual([
      'approved',
      'denied',
      'ended',
      'expired',
      'overruled',
      'withdrawn',
    ]);
  });

  test('a withdrawal is not dropped by the entry of the approval that it crosses', () => {
    const world = new World(1);
    world.report(1);
    world.vote('ann', 'approve');
    for (const word of world.signed) world.deliver(word);
    expect(world.held.state).toBe('accepted');
    world.vote('ann', 'withdraw');
    world.report(1);
    world.settle();
    expect(world.approval.state).toBe('withdrawn');
    expect(world.held).toMatchObject({ state: 'cancelled', reason: 'approval_withdrawn' });
  });

  test('I8: pending is never denied: without a vote nothing but time and its own app ends it', () => {
    const quiet = fc.oneof(
      fc.constant<Step>((w) => w.report(2)),
      fc.constant<Step>((w) => w.apply({ kind: 'lose_control' })),
      fc.constant<Step>((w) => w.apply({ kind: 'regain_control' })),
      fc.constant<Step>((w) => w.pass(TTL_MS / 100)),
      fc.constant<Step>((w) => (w.control = w.copy)),
    );
    fc.assert(
      fc.property(fc.array(quiet, { maxLength: 30 }), (todo) => {
        const world = new World(1);
        for (const step of todo) step(world);
        expect(world.held.state).toBe('awaiting_approval');
        expect(world.approval.state).toBe('pending');
      }),
    );
  });
});

describe('a verdict', () => {
  const request = (): ApprovalRequest => {
    const world = new World(2);
    world.report(1);
    if (world.current === undefined) throw new Error('it was reported');
    return world.current;
  };
  const by = (name: string, over: Partial<Asked> = {}): Asked => ({
    verb: 'approve',
    voter: { name, roles: new Set(['security']) },
    digest: DIGEST,
    reason: 'yes',
    nowMs: START.wallMs,
    hostEpoch: 1,
    isUsed: false,
    ...over,
  });
  const refusals: [string, string, Asked][] = [
    ['self_approval', 'in the own name', by('billing')],
    ['forbidden', 'without the role', by('dan', { voter: { name: 'dan', roles: new Set() } })],
    ['approval_changed', 'about another payload', by('ann', { digest: 'b'.repeat(64) })],
    ['approval_settled', 'after its time', by('ann', { nowMs: START.wallMs + TTL_MS })],
    ['approval_settled', 'of a host enrolled anew', by('ann', { hostEpoch: 2 })],
    ['forbidden', 'withdrawn by who never gave it', by('ann', { verb: 'withdraw' })],
  ];
  test.each(refusals)('%s: %s', (code, _what, said) => {
    expect(judgeVerdict(request(), said)).toMatchObject({ kind: 'refused', code });
  });

  test('one person, one vote: the same again is the same, another is refused', () => {
    const first = judgeVerdict(request(), by('ann'));
    if (first.kind !== 'changed') throw new Error(first.kind);
    expect(first).toMatchObject({ outcome: null, request: { state: 'pending' } });
    expect(judgeVerdict(first.request, by('ann'))).toEqual({ kind: 'unchanged' });
    expect(judgeVerdict(first.request, by('ann', { verb: 'deny' }))).toMatchObject({
      code: 'approval_voted',
    });
    const second = judgeVerdict(first.request, by('bob'));
    expect(second).toMatchObject({ outcome: 'approved', request: { sequence: 1 } });
  });

  test('a person has one name, whatever kind of principal it is', () => {
    expect(isSamePerson('ann', 'user:Ann')).toBe(true);
    expect(isSamePerson('ann', 'agent:anna')).toBe(false);
  });
});
