import { expect, test } from 'vitest';
import { classifyPaused } from '../../../dataplane/core/resume-verdict.ts';
import type { PolicyDocument } from '../../../shared/wire/policy-document.ts';
import { activePolicy } from '../../fakes/fake-authority.ts';
import { pendingApproval, wordOf } from '../../fakes/stored-approval.ts';
import { NOW, operation } from '../../fakes/stored-operation.ts';

function policyAsking(approval: PolicyDocument['rules'][number]['approval']) {
  return activePolicy({
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [
      {
        name: 'capture',
        actions: ['payments.capture'],
        permit: [{ expression: 'true' }],
        ...(approval === undefined ? {} : { approval }),
      },
    ],
  });
}

const ONE = { from: 'role:security', required: 1, ttl: '5m' } as const;
const approved = pendingApproval({ state: 'approved', votes: wordOf('approved').votes });
const at = (policy: ReturnType<typeof policyAsking>) => ({
  policy,
  revoked: null,
  stalenessMs: 0,
  now: NOW,
});

test.each([
  ['no approval is asked for', undefined, undefined, 'may_continue'],
  ['I3: one is asked for now, and it has none', ONE, undefined, 'needs_person'],
  ['it has the one that is asked for', ONE, approved, 'may_continue'],
  ['I3: it has one of another role', { ...ONE, from: 'role:boss' }, approved, 'needs_person'],
  ['I3: two are asked for now', { ...ONE, required: 2 }, approved, 'needs_person'],
  ['I3: the one that it waited for did not come', ONE, pendingApproval(), 'needs_person'],
] as const)('paused work, where %s', (_, asked, approval, kind) => {
  const paused = operation({ state: 'paused', ...(approval === undefined ? {} : { approval }) });
  const verdict = classifyPaused(paused, at(policyAsking(asked)));
  expect(verdict).toMatchObject(
    kind === 'may_continue' ? { kind } : { kind, reason: 'approval_required', basis: null },
  );
});
