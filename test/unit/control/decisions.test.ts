/** The small pure decisions of control, each with its near-misses. */
import { describe, expect, test } from 'vitest';
import {
  judgeHosts,
  judgePublication,
  judgeWork,
  type FleetView,
} from '../../../control/core/health-verdict.ts';
import { healthPart as part, judgePlane } from '../../../shared/core/plane-health.ts';
import { classifyHost } from '../../../control/core/host-presence.ts';
import { CLAIM_REASONS, checkBodyDigest, checkClaims } from '../../../control/core/host-request.ts';
import { mayActAs } from '../../../control/core/operator-roles.ts';
import {
  projectEvent,
  type ProjectedOperation,
} from '../../../control/core/operation-projection.ts';
import { decidePublication } from '../../../control/core/publication.ts';
import { checkContinuity } from '../../../control/core/report-continuity.ts';
import { OPERATOR_ROLES } from '../../../shared/wire/control-api.ts';

describe('a publication', () => {
  const current = { policyRevision: 4, policyDigest: 'a' };
  const replaces = (policyRevision: number) => ({ kind: 'replaces' as const, policyRevision });
  test.each([
    [
      'the first',
      null,
      { kind: 'first' as const },
      'b',
      0,
      { outcome: 'published', policyRevision: 1, follows: null },
    ],
    [
      'the first, of a control that lost its store',
      null,
      { kind: 'first' as const },
      'b',
      9,
      { outcome: 'published', policyRevision: 10, follows: null },
    ],
    [
      'the next',
      current,
      replaces(4),
      'b',
      4,
      { outcome: 'published', policyRevision: 5, follows: 4 },
    ],
    [
      'the next after what a host has seen',
      current,
      replaces(4),
      'b',
      7,
      { outcome: 'published', policyRevision: 8, follows: 4 },
    ],
    [
      'the same document',
      current,
      replaces(4),
      'a',
      9,
      { outcome: 'unchanged', policyRevision: 4 },
    ],
    [
      'the same document, unread',
      current,
      replaces(3),
      'a',
      4,
      { outcome: 'conflict', current: 4 },
    ],
    ['one behind', current, replaces(3), 'b', 4, { outcome: 'conflict', current: 4 }],
    [
      'a first that is none',
      current,
      { kind: 'first' as const },
      'b',
      4,
      { outcome: 'conflict', current: 4 },
    ],
    ['a next that is none', null, replaces(4), 'b', 0, { outcome: 'conflict', current: null }],
  ])('%s', (_what, inForce, precondition, policyDigest, seen, expected) => {
    expect(decidePublication(inForce, { policyDigest, precondition }, seen)).toEqual(expected);
  });
});

test('roles: everyone views, admin does everything, the three between only their own', () => {
  const may = (held: (typeof OPERATOR_ROLES)[number]) =>
    OPERATOR_ROLES.filter((needed) => mayActAs([held], needed));
  expect(may('viewer')).toEqual(['viewer']);
  expect(may('publisher')).toEqual(['viewer', 'publisher']);
  expect(may('approver')).toEqual(['viewer', 'approver']);
  expect(may('operator')).toEqual(['viewer', 'operator']);
  expect(may('admin')).toEqual([...OPERATOR_ROLES]);
  expect(mayActAs([], 'viewer')).toBe(false);
  expect(mayActAs(['publisher', 'operator'], 'operator')).toBe(true);
});

test('presence by the time since the last sync', () => {
  const bounds = { lateAfterMs: 10, lostAfterMs: 20 };
  expect([null, 100, 91, 90, 81, 80, 200].map((at) => classifyHost(at, bounds, 100))).toEqual([
    'enrolled',
    'connected',
    'connected',
    'late',
    'late',
    'lost',
    'connected',
  ]);
});

describe('the claims of a host', () => {
  const claims = {
    iss: 'h',
    aud: 'c',
    hostEpoch: 1,
    iat: 1_000,
    exp: 1_060,
    method: 'POST',
    path: '/v1/sync',
    bodySha256: 'x',
    nonce: 'n'.repeat(16),
  };
  const expected = {
    controlId: 'c',
    hostId: 'h',
    hostEpoch: 1,
    nowSeconds: 1_000,
    method: 'POST',
    path: '/v1/sync',
  };

  test('fit, up to their bounds', () => {
    expect(checkClaims(claims, expected)).toBeNull();
    expect(checkClaims({ ...claims, iat: 1_300, exp: 1_900 }, expected)).toBeNull();
    expect(checkClaims({ ...claims, iat: 690, exp: 700 }, expected)).toBeNull();
    expect(checkBodyDigest(claims, 'x')).toBeNull();
  });

  test('are checked in the order of the list: with all wrong the first is named, and so on', () => {
    const wrong = [
      { aud: 'd' },
      { iss: 'i' },
      { hostEpoch: 2 },
      { iat: 1_301, exp: 1_902 },
      { iat: 1_301, exp: 1_400 },
      { iat: 600, exp: 699 },
      { method: 'GET' },
      { path: '/v1/x' },
    ];
    const found = wrong.map((_, from) => {
      const mix = Object.assign({}, ...wrong.slice(from).toReversed()) as Partial<typeof claims>;
      return checkClaims({ ...claims, ...mix }, expected)?.reason;
    });
    expect([...found, checkBodyDigest(claims, 'y')?.reason]).toEqual([...CLAIM_REASONS]);
  });
});

describe('the continuity of reports', () => {
  const zeros = '0';
  const link = (seq: number, over: Partial<{ previousHash: string; hash: string }> = {}) => ({
    seq,
    previousHash: seq === 1 ? zeros : `h${seq - 1}`,
    hash: `h${seq}`,
    ...over,
  });
  const acked = { hostEpoch: 1, seq: 3, hash: 'h3' };
  const storedHashes = new Map([1, 2, 3].map((seq) => [seq, `h${seq}`]));
  const source = { hostEpoch: 1, firstHash: zeros, storedHashes };
  test.each([
    ['the next', [link(4), link(5)], { kind: 'accept', fromIndex: 0, lost: null }],
    ['an overlap', [link(2), link(3), link(4)], { kind: 'accept', fromIndex: 2, lost: null }],
    ['all of it again', [link(1), link(2), link(3)], { kind: 'duplicate' }],
    ['an old part again', [link(2)], { kind: 'duplicate' }],
    ['a gap', [link(5)], { kind: 'gap', expectedSeq: 4, gotSeq: 5 }],
    ['a gap inside', [link(4), link(6)], { kind: 'gap', expectedSeq: 5, gotSeq: 6 }],
    [
      'a broken link inside',
      [link(4), link(5, { previousHash: 'x' })],
      { kind: 'conflict', seq: 5 },
    ],
    [
      'a broken link to what is held',
      [link(4, { previousHash: 'x' })],
      { kind: 'conflict', seq: 4 },
    ],
    [
      'another history',
      [link(3, { hash: 'x' }), link(4, { previousHash: 'x' })],
      { kind: 'conflict', seq: 3 },
    ],
    [
      'another history that ends before what is held',
      [link(1), link(2, { hash: 'x' })],
      { kind: 'conflict', seq: 2 },
    ],
  ])('%s', (_what, events, expected) => {
    expect(checkContinuity(acked, events, source)).toMatchObject(expected);
  });

  test.each([
    ['from the beginning', [link(1), link(2)], { kind: 'accept', lost: null }],
    ['as a continuation', [link(4)], { kind: 'accept', lost: null }],
    ['in the middle: a loss', [link(7)], { kind: 'accept', lost: { from: 1, to: 6 } }],
    [
      'with a beginning that is none',
      [link(1, { previousHash: 'x' })],
      { kind: 'conflict', seq: 1 },
    ],
  ])('a new enrolment begins %s', (_what, events, expected) => {
    expect(checkContinuity(acked, events, { ...source, hostEpoch: 2 })).toMatchObject(expected);
  });
});

describe('the projection of events', () => {
  const source = { hostId: 'h', hostEpoch: 1 };
  const known = {
    operationId: 'op',
    hostId: 'h',
    hostEpoch: 1,
    state: 'accepted',
    effects: [],
    outcome: null,
    lastSeq: 4,
  } as unknown as ProjectedOperation;
  const change = (seq: number, over: object = {}) =>
    ({
      seq,
      atMs: 9,
      type: 'changed',
      kind: 'succeeded',
      operationId: 'op',
      change: { state: 'succeeded', reason: null, attempt: 1, ...over },
    }) as const;

  test('R1: an event that was folded is not folded again, except under a new enrolment', () => {
    expect(projectEvent(known, change(4), source).kind).toBe('none');
    expect(projectEvent(known, change(5), source)).toMatchObject({
      kind: 'operation',
      operation: { state: 'succeeded', lastSeq: 5 },
    });
    expect(projectEvent(known, change(1), { ...source, hostEpoch: 2 })).toMatchObject({
      operation: { lastSeq: 1, hostEpoch: 2 },
    });
  });

  test('R2: what does not fold is named', () => {
    expect(projectEvent(undefined, change(5), source)).toMatchObject({
      kind: 'unreadable',
      problem: expect.stringMatching(/never reported/),
    });
    expect(projectEvent(known, change(5), { ...source, hostId: 'i' })).toMatchObject({
      kind: 'unreadable',
    });
  });

  test('effects are merged by name, and a list replaces them', () => {
    const effect = (name: string, state: string) => ({ name, state }) as never;
    const one = projectEvent(known, change(5, { effect: effect('a', 'begun') }), source);
    if (one.kind !== 'operation') throw new Error(one.kind);
    const two = projectEvent(one.operation, change(6, { effect: effect('a', 'failed') }), source);
    expect(two).toMatchObject({ operation: { effects: [{ name: 'a', state: 'failed' }] } });
    const three = projectEvent(
      one.operation,
      change(6, { effects: [effect('b', 'unknown')] }),
      source,
    );
    expect(three).toMatchObject({ operation: { effects: [{ name: 'b' }] } });
  });
});

describe('health', () => {
  const fleet: FleetView = {
    states: { enrolled: 0, connected: 2, late: 0, lost: 0 },
    lastSyncAtMs: 5,
    behind: 0,
    rejecting: 0,
    unreported: 0,
    operations: {},
  };
  const lost = { ...fleet, states: { enrolled: 0, connected: 1, late: 0, lost: 1 } };

  test('a plane is as its worst part, and not knowing is never ok', () => {
    const ok = part('ok', 'x');
    expect(judgePlane({ a: ok, b: part('unknown', 'y') }, 'fine')).toMatchObject({
      verdict: 'unknown',
      summary: 'b: y',
    });
    expect(judgePlane({ a: ok }, 'fine')).toMatchObject({ verdict: 'ok', summary: 'fine' });
    expect(judgePlane({ a: ok, b: part('degraded', 'y') }, '')).toMatchObject({
      verdict: 'impaired',
      summary: 'b: y',
    });
    expect(judgePlane({ a: part('failed', 'z'), b: part('degraded', 'y') }, '')).toMatchObject({
      verdict: 'down',
      summary: 'a: z; b: y',
    });
  });

  test('hosts that are lost impair the control plane and leave the data plane unknown, not bad', () => {
    expect(judgeHosts(lost).state).toBe('degraded');
    expect(judgeHosts({ ...lost, states: { ...lost.states, connected: 0 } }).state).toBe('failed');
    expect(judgePlane(judgeWork(lost), '').verdict).toBe('unknown');
    expect(judgePlane(judgeWork({ ...lost, unreported: 3 }), '').verdict).toBe('impaired');
  });

  test('work that nobody knows the end of needs somebody', () => {
    expect(judgeWork({ ...fleet, operations: { unknown: 1 } })['unknown']?.state).toBe('degraded');
    expect(judgePublication(null, fleet, 0).state).toBe('degraded');
    expect(judgePublication(3, { ...fleet, rejecting: 1 }, 0).state).toBe('degraded');
    expect(judgePublication(3, { ...fleet, behind: 1 }, 0)).toMatchObject({
      state: 'ok',
      detail: expect.stringMatching(/1 hosts are on another$/),
    });
    expect(judgePublication(3, fleet, 900).detail).toMatch(/waits until all hosts .* 900 ms$/);
  });
});
