import { describe, expect, test } from 'vitest';
import type { Instant } from '../../../shared/core/time.ts';
import type { Admission, AdmitRequest } from '../../../shared/wire/operation.ts';
import {
  checkAdmissible,
  planAdmission,
  planFromControl,
  type AuthorityAtHand,
  type Plan,
} from '../../../dataplane/core/admission.ts';
import { newAdmission, storedAsAdmitted } from '../../../dataplane/core/new-admission.ts';
import { ruleBudgets } from '../../../dataplane/core/outage-budget.ts';
import { TEST_POLICY, activePolicy } from '../../fakes/fake-authority.ts';

const NOW: Instant = { wallMs: 1_000_000, bootMs: 500_000, bootId: 'boot-1' };
const CAPTURE: AdmitRequest = {
  principal: 'agent:billing',
  action: 'payments.capture',
  resource: { id: 'order-1', attributes: { shard: 3 } },
  attributes: { amount: 20 },
};
const policy = activePolicy(TEST_POLICY);

function authority(change: Partial<AuthorityAtHand> = {}): AuthorityAtHand {
  return { policy, revoked: null, stalenessMs: 1_000, now: NOW, ...change };
}

function decided(plan: Plan): Plan & { kind: 'decided' } {
  if (plan.kind !== 'decided') throw new Error(`expected a decision, got ${JSON.stringify(plan)}`);
  return plan;
}

describe('reasons, in order of precedence', () => {
  const cases: [string, Partial<AuthorityAtHand>, Partial<AdmitRequest>, string][] = [
    [
      'withdrawn authority comes before everything',
      { revoked: { reason: 'host_unknown' }, policy: null, stalenessMs: null },
      {},
      'control_rejected',
    ],
    ['no policy', { policy: null }, {}, 'policy_absent'],
    [
      'an unknown principal',
      { stalenessMs: null },
      { principal: 'agent:nobody' },
      'unknown_principal',
    ],
    ['an action without rule', {}, { action: 'payments.unheard' }, 'no_rule'],
    ['an expression that fails', {}, { attributes: {} }, 'rule_error'],
    ['a permit that is false', { stalenessMs: null }, { attributes: { amount: 501 } }, 'denied'],
    ['authority too old', { stalenessMs: 300_001 }, {}, 'policy_expired'],
    ['authority of unknown age', { stalenessMs: null }, {}, 'policy_expired'],
  ];
  test.each(cases)('%s', (_title, at, change, code) => {
    expect(planAdmission(authority(at), { ...CAPTURE, ...change })).toMatchObject({
      kind: 'refused',
      code,
    });
  });

  test('I5: at exactly maxStaleness it is still good, one millisecond later it is not', () => {
    expect(planAdmission(authority({ stalenessMs: 300_000 }), CAPTURE).kind).toBe('decided');
    expect(planAdmission(authority({ stalenessMs: 300_001 }), CAPTURE)).toMatchObject({
      code: 'policy_expired',
      basis: 'cached',
      stalenessMs: 300_001,
    });
  });

  test('I4: a fresh rule is never decided from cache, neither to permit nor to refuse', () => {
    const refund: AdmitRequest = {
      principal: 'agent:billing',
      action: 'payments.refund',
      attributes: { amount: 20 },
    };
    expect(planAdmission(authority(), refund)).toEqual({
      kind: 'ask_control',
      rule: 'refund',
      policyRevision: 1,
    });
    expect(planAdmission(authority(), { ...refund, attributes: { amount: 5_000 } })).toEqual({
      kind: 'ask_control',
      rule: 'refund',
      policyRevision: 1,
    });
    expect(planAdmission(authority({ stalenessMs: null }), refund).kind).toBe('ask_control');
  });
});

describe('owner and deadline', () => {
  const plan = decided(planAdmission(authority(), CAPTURE));
  const lease = { resource: 'orders/3', epoch: 9, bootId: 'boot-1', endsBootMs: 510_000 };

  test('the lease template is filled from the request', () => {
    expect(plan.decision.leaseResource).toBe('orders/3');
    const odd = planAdmission(authority(), {
      ...CAPTURE,
      resource: { id: 'x', attributes: { shard: '../../etc' } },
    });
    expect(odd).toMatchObject({ kind: 'refused', code: 'rule_error' });
  });

  test('I7: without the lease, or with one of another boot, nothing is admitted', () => {
    expect(checkAdmissible(plan, CAPTURE, undefined, NOW)).toMatchObject({ code: 'lease_absent' });
    expect(checkAdmissible(plan, CAPTURE, { ...lease, bootId: 'boot-0' }, NOW)).toMatchObject({
      code: 'lease_expired',
    });
  });

  test('fenced ownership goes on for its grace, marked, and not a millisecond longer', () => {
    expect(checkAdmissible(plan, CAPTURE, lease, NOW)).toMatchObject({
      ownership: { epoch: 9, inGrace: false },
    });
    expect(checkAdmissible(plan, CAPTURE, lease, { ...NOW, bootMs: 510_000 })).toMatchObject({
      ownership: { inGrace: true },
    });
    expect(
      checkAdmissible(plan, CAPTURE, lease, { ...NOW, bootMs: 510_000 + 120_000 - 1 }),
    ).toMatchObject({ ownership: { inGrace: true } });
    expect(
      checkAdmissible(plan, CAPTURE, lease, { ...NOW, bootMs: 510_000 + 120_000 }),
    ).toMatchObject({ code: 'lease_expired' });
  });

  test('a deadline beyond the rule is refused, one at the bound is not', () => {
    expect(checkAdmissible(plan, { ...CAPTURE, deadlineMs: 3_600_000 }, lease, NOW)).toMatchObject({
      kind: 'admissible',
      deadlineMs: 3_600_000,
    });
    expect(checkAdmissible(plan, { ...CAPTURE, deadlineMs: 3_600_001 }, lease, NOW)).toMatchObject({
      code: 'deadline_too_long',
    });
  });

  test('I3: the record carries its whole basis, and when that basis ends', () => {
    const admissible = checkAdmissible(plan, CAPTURE, lease, NOW);
    if (admissible.kind !== 'admissible') throw new Error(admissible.code);
    expect(admissible.authorityEndsBootMs).toBe(510_000);
    const by = { hostId: 'h', app: 'demo', idempotencyKey: 'k', fingerprint: 'f' };
    const admission = newAdmission(by, CAPTURE, plan, admissible, NOW);
    const entry = { operationId: 'op_1', atMs: NOW.wallMs, outageId: 'out_1' };
    // As it is read again: through JSON.
    const stored = JSON.parse(JSON.stringify(admission)) as Admission;
    expect(storedAsAdmitted(stored, entry)).toEqual(storedAsAdmitted(admission, entry));
    expect(storedAsAdmitted(stored, entry)).toMatchObject({
      operationId: 'op_1',
      state: 'accepted',
      admittedAtMs: NOW.wallMs,
      policyRevision: 1,
      rule: 'capture',
      basis: 'cached',
      stalenessMs: 1_000,
      leaseResource: 'orders/3',
      leaseEpoch: 9,
      outageId: 'out_1',
      deadlineAtMs: NOW.wallMs + 600_000,
      deadlineBoot: { bootId: 'boot-1', bootMs: NOW.bootMs + 600_000 },
    });
  });

  test('a rule without ownership asks for no lease', () => {
    const request = { principal: 'agent:billing', action: 'notifications.send' };
    const notify = decided(planAdmission(authority(), request));
    expect(checkAdmissible(notify, request, undefined, NOW)).toMatchObject({
      kind: 'admissible',
      ownership: null,
    });
  });

  test('I4: a refusal by control is one, whatever it says besides', () => {
    const fresh = { policyRevision: 7, stalenessMs: 12, endsBootMs: 1 };
    const denied = { ...plan.decision, decision: 'deny', reason: 'denied' } as const;
    expect(planFromControl(denied, fresh)).toMatchObject({ kind: 'refused', code: 'denied' });
    expect(planFromControl({ ...plan.decision, terms: null }, fresh)).toMatchObject({
      kind: 'refused',
      code: 'denied',
    });
  });

  test('I3: a fresh decision says that it is', () => {
    const fresh = planFromControl(plan.decision, {
      policyRevision: 7,
      stalenessMs: 12,
      endsBootMs: 1,
    });
    expect(fresh).toMatchObject({
      kind: 'decided',
      basis: { basis: 'fresh', policyRevision: 7, stalenessMs: 12 },
    });
  });
});

describe('the outage budget', () => {
  const held = [
    { resource: 'orders/3', epoch: 9, bootId: 'boot-1', endsBootMs: 510_000 },
    { resource: 'orders/4', epoch: 9, bootId: 'boot-1', endsBootMs: 520_000 },
    { resource: 'others/4', epoch: 9, bootId: 'boot-1', endsBootMs: 500_001 },
  ];
  const item = (rule: string, stalenessMs: number | null, leases = held) =>
    ruleBudgets(policy.compiled, {
      now: NOW,
      held: leases,
      stalenessMs,
      isRevoked: false,
      parts: () => [],
      controlLossAfterMs: 10_000,
    }).find((entry) => entry.rule === rule);

  test('says what ends each rule first', () => {
    expect(item('refund', 0)).toMatchObject({ admissionMs: 0, limitedBy: 'freshness' });
    expect(item('notify', 60_000)).toMatchObject({
      admissionMs: 840_000,
      limitedBy: 'max_staleness',
    });
    expect(item('notify', null)).toMatchObject({ admissionMs: 0 });
    expect(item('capture', 0)).toMatchObject({ admissionMs: 130_000, limitedBy: 'lease' });
    expect(item('capture', 200_000)).toMatchObject({
      admissionMs: 100_000,
      limitedBy: 'max_staleness',
    });
    expect(item('capture', 0, [])).toMatchObject({ admissionMs: 0, limitedBy: 'lease' });
  });
});
