/** What every `ControlStore` keeps of roll-outs, proposals, and what hosts say of themselves. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Proposal } from '../../shared/wire/publication.ts';
import type { Rollout } from '../../shared/wire/rollout.ts';
import { policyDocument } from '../fakes/control-world.ts';
import {
  actions,
  audit,
  enrol,
  revision,
  synced,
  type OpenStore,
  type Subject,
} from './control-store.contract.ts';

const rollout = (over: Partial<Rollout> = {}): Rollout => ({
  policyRevision: 1,
  baseRevision: 0,
  state: 'running',
  stage: 1,
  stages: [{ labels: {}, percentage: 100, bakeMs: 0 }],
  startedAtMs: 1,
  startedBy: 'test',
  stageAtMs: 1,
  bakedMs: 0,
  reason: null,
  endedAtMs: null,
  returnRevision: null,
  ...over,
});
const proposal = (over: Partial<Proposal> = {}): Proposal => ({
  proposalId: 'prop_1',
  state: 'open',
  policyDigest: 'd',
  replaces: null,
  rules: 1,
  comment: null,
  rollout: 'all',
  proposedBy: 'operator:a',
  proposedAtMs: 1,
  expiresAtMs: 100,
  decidedBy: null,
  decidedAtMs: null,
  reason: null,
  policyRevision: null,
  ...over,
});
const report = {
  comparedWith: null,
  warnings: [],
  loosening: null,
  impact: null,
  operations: null,
};

export function rolloutStoreContract(adapter: string, create: () => Promise<OpenStore>): void {
  describe(`${adapter} keeps roll-outs and proposals`, () => {
    const at = {} as Subject;
    beforeEach(async () => {
      at.data = await create();
      at.store = await at.data.open();
      await at.store.startRun({ controlId: 'ctl_1', run: 1 });
    });
    afterEach(async () => {
      await at.store.close();
      await at.data.dispose();
    });

    rollouts(at);
    proposalsAndFacts(at);
  });
}

function rollouts(at: Subject): void {
  test('I11: a revision and its roll-out are written together, or neither is', async () => {
    const begun = { rollout: { record: rollout(), replaces: null } };
    expect(await at.store.policy.append(revision(1), 7, audit('p'), begun)).toBe('conflict');
    expect(await at.store.rollouts.newest()).toBeNull();
    expect(await at.store.policy.append(revision(1), null, audit('p'), begun)).toBe('ok');
    expect(await at.store.rollouts.newest()).toEqual(rollout());
    const stale = { record: rollout({ stage: 2 }), replaces: rollout({ bakedMs: 5 }) };
    expect(await at.store.policy.append(revision(2), 1, audit('q'), { rollout: stale })).toBe(
      'conflict',
    );
    expect(await at.store.policy.currentNumber()).toBe(1);
  });

  test('a step of a roll-out follows the one it was decided on', async () => {
    await at.store.policy.append(revision(1), null, audit('p'), {
      rollout: { record: rollout(), replaces: null },
    });
    const paused = rollout({ state: 'paused' });
    const write = { record: paused, replaces: rollout() };
    expect(await at.store.rollouts.write(write, [audit('a')])).toBe('ok');
    expect(await at.store.rollouts.write(write, [audit('b')])).toBe('conflict');
    expect(await actions(at)).toEqual(['p', 'a']);
  });
}

function proposalsAndFacts(at: Subject): void {
  test('a proposal is decided once, together with what it becomes', async () => {
    const record = { ...proposal(), report };
    await at.store.proposals.add(record, policyDocument(), audit('a'));
    expect(await at.store.proposals.fetch('prop_1')).toEqual({
      record,
      policy: policyDocument(),
    });
    expect(await at.store.proposals.countOpen(99)).toBe(1);
    expect(await at.store.proposals.countOpen(100)).toBe(0);
    const published = {
      record: proposal({ state: 'published', policyRevision: 1 }),
      replaces: 'open' as const,
    };
    const besides = { proposal: published };
    expect(await at.store.policy.append(revision(1), null, audit('p'), besides)).toBe('ok');
    expect(await at.store.policy.append(revision(2), 1, audit('q'), besides)).toBe('conflict');
    expect(await at.store.proposals.write(published, audit('b'))).toBe('conflict');
    expect((await at.store.proposals.list({ limit: 1, cursor: null })).items).toMatchObject([
      { proposalId: 'prop_1', state: 'published', report },
    ]);
  });

  test('what a host says of itself is kept with its sync', async () => {
    await enrol(at);
    const facts = {
      labels: { canary: 'true' },
      processId: 'p',
      policyRevision: 4,
      sinceMs: 9,
      highWaterRevision: 4,
      rejected: null,
      deaths: null,
      offered: null,
      sent: [],
      tallies: [],
    };
    const write = { leases: [], epochs: { replaces: 0, highest: 0 }, isLazy: false, audit: [] };
    await at.store.leases.applySync({ host: synced({ facts }), ...write });
    expect(await at.store.rollouts.facts()).toEqual(new Map([['host_1', facts]]));
    await at.store.leases.applySync({ host: synced({ hostEpoch: 9, facts }), ...write });
    await at.store.leases.applySync({ host: synced(), ...write });
    expect(await at.store.rollouts.facts()).toEqual(new Map([['host_1', facts]]));
  });
}
