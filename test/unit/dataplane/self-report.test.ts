import { expect, test } from 'vitest';
import { loadConfiguration } from '../../../shared/platform/configuration.ts';
import { SidecarConfigSchema, sidecarSettings } from '../../../dataplane/config.ts';
import { SelfReport } from '../../../dataplane/upstream/self-report.ts';

const report = () => new SelfReport({ labels: { canary: 'true' }, processId: 'p' });
const tallyOf = (self: SelfReport) => self.tallies()[0];

test('counts what was decided by the policy, and nothing else', () => {
  const self = report();
  const note = (decision: 'admitted' | 'refused' | 'replayed', reason: string, revision = 3) =>
    self.note({ decision, reason, policyRevision: revision });
  note('admitted', 'permitted');
  note('replayed', 'permitted');
  note('refused', 'denied');
  note('refused', 'rule_error');
  for (const reason of ['policy_expired', 'control_unreachable', 'lease_absent', 'journal_full'])
    note('refused', reason);
  self.note({ decision: 'refused', reason: 'policy_absent', policyRevision: null });
  expect(self.tallies()).toEqual([{ policyRevision: 3, admitted: 1, refused: 2, ruleErrors: 1 }]);
});

test('keeps the newest four revisions', () => {
  const self = report();
  for (const policyRevision of [5, 6, 7, 8, 9])
    self.note({ decision: 'admitted', reason: 'permitted', policyRevision });
  expect(self.tallies().map(({ policyRevision }) => policyRevision)).toEqual([6, 7, 8, 9]);
  expect(tallyOf(self)).toMatchObject({ admitted: 1 });
});

const settingsOf = (...argv: string[]) => {
  const loaded = loadConfiguration(SidecarConfigSchema, {
    program: 'p',
    argv: ['--app-auth', 'off', ...argv],
    env: {},
  });
  if (loaded.kind !== 'run') throw new Error(loaded.text);
  return sidecarSettings(loaded.config);
};

test('labels come from the configuration', () => {
  expect(settingsOf().labels).toEqual({});
  expect(settingsOf('--labels', 'canary=true,zone=eu-1').labels).toEqual({
    canary: 'true',
    zone: 'eu-1',
  });
});

test.each([
  ['canary', /labels: canary is no label/],
  ['a=b=c', /labels: a=b=c is no label/],
  ['A=b', /labels: A=b is no label/],
  ['a=b,a=c', /labels: a is given twice/],
  [Array.from({ length: 33 }, (_, index) => `l${index}=x`).join(','), /at most 32/],
])('labels %s are refused', (labels, problem) => {
  expect(() => settingsOf('--labels', labels)).toThrow(problem);
});

test('how the host is goes to a control that asks for it, and to no older one', () => {
  const none = { count: 0, oldestMs: null };
  const health = {
    executing: none,
    paused: none,
    stuck: none,
    unknown: none,
    reconciling: none,
    staleRules: { count: 0, of: 0 },
    expiredConfig: { count: 0, of: 0 },
  };
  const self = report();
  self.useHealth(() => health);
  expect(self.health()).toBeNull();
  self.healthAsked(true);
  expect(self.health()).toBe(health);
  // A journal that cannot be read costs this, not the sync.
  self.useHealth(() => {
    throw new Error('database disk image is malformed');
  });
  expect(self.health()).toBeNull();
  self.healthAsked(false);
  expect(self.health()).toBeNull();
});
