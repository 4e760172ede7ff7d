/**
 * What is told of leases comes in the order in which control's store wrote it, whatever the order of its
 * answers. An order of an operator is answered before the syncs whose grants it rests on and commits along,
 * and grants seemed to go back (I6; seeds 3015, 4675, 6573 and 11051 of the simulation).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LeaseRecord } from '../../../control/core/lease-transition.ts';
import type { ControlStore } from '../../../control/store/control-store.ts';
import { openSqliteControlStore } from '../../../control/store/sqlite-control-store.ts';
import { audit, enrol, synced } from '../../contract/control-store.contract.ts';
import { i06Fencing } from '../../simulation/checkers/i06-fencing.ts';
import { StoreWatch } from '../../simulation/engine/observed-store.ts';
import type { EventDraft } from '../../simulation/history.ts';
import { SmallHistory } from './small-history.ts';

let directory: string;
let story: SmallHistory;
let told: string[];
let store: ControlStore;
let commits: (() => void)[];
const life = { isAlive: true };

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-observed-'));
  story = new SmallHistory();
  story.started('control', 1, 1);
  told = [];
  commits = [];
  life.isAlive = true;
  const real = openSqliteControlStore(join(directory, 'control.db'), {
    soon: (commit) => void commits.push(commit),
    later: () => ({ cancel: () => undefined }),
  });
  await real.startRun({ controlId: 'ctl_1', run: 1 });
  const add = (draft: EventDraft) => {
    if (draft.kind === 'lease_written') {
      const { resource, change, epoch, after } = draft;
      told.push(`${resource} ${change} ${epoch}, version ${after.version}`);
    }
    return story.say(draft);
  };
  store = new StoreWatch({ add }, { now: () => story.now() }).observe(real, life);
  await enrol({ store, data: { open: async () => store, dispose: async () => undefined } });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

/** The lease in its nth version; each sync of before was asked anew, and got the next epoch. */
const lease = (version: number, over: Partial<LeaseRecord> = {}) => ({
  record: {
    resource: 'orders/1',
    epoch: version,
    state: 'held' as const,
    holder: { hostId: 'host_1', hostEpoch: 1 },
    run: 1,
    endsBootMs: 100_000,
    termMs: 50_000,
    grantedAtMs: 1,
    renewedAtMs: 1,
    transitions: 0,
    handover: null,
    version,
    ...over,
  },
  replacesVersion: version === 1 ? null : version - 1,
  isExtension: false,
});

const sync = (
  written: ReturnType<typeof lease>,
  { from, isLazy = false, hostEpoch = 1 }: { from: number; isLazy?: boolean; hostEpoch?: number },
) =>
  store.leases.applySync({
    host: synced({ hostEpoch }),
    leases: [written],
    epochs: { replaces: from, highest: written.record.epoch },
    audit: [],
    isLazy,
  });

const STOP = {
  mode: 'stop',
  toHostId: null,
  by: 'operator:ann',
  reason: null,
  sinceMs: 3,
  run: 1,
  modeSinceBootMs: 4,
  timeoutMs: null,
  onTimeout: 'revoke',
} as const;

const stopped = () =>
  store.leases.change({ lease: lease(3, { epoch: 2, handover: STOP }), audit: audit('ordered') });

test('I6, T1: grants that an order commits along are told before it', async () => {
  const answers: string[] = [];
  const syncs = [
    sync(lease(1), { from: 0 }).then((outcome) => answers.push(`sync ${outcome}`)),
    sync(lease(2), { from: 1 }).then((outcome) => answers.push(`sync ${outcome}`)),
  ];
  await stopped().then((outcome) => answers.push(`order ${outcome}`));
  await Promise.all(syncs);
  expect(answers.toSorted()).toEqual(['order ok', 'sync ok', 'sync ok']);
  expect(told).toEqual([
    'orders/1 granted 1, version 1',
    'orders/1 granted 2, version 2',
    'orders/1 revoked 2, version 3',
  ]);
  expect(i06Fencing(story.end()).violations).toEqual([]);
});

test('I6, T1: a store that does give a lower epoch is still told as it is', async () => {
  const syncs = [sync(lease(1, { epoch: 7 }), { from: 0 }), sync(lease(2), { from: 7 })];
  commits[0]?.();
  expect(await Promise.all(syncs)).toEqual(['ok', 'ok']);
  expect(i06Fencing(story.end()).violations.map(({ detail }) => detail)).toEqual([
    'orders/1 was granted to host-1 under epoch 2, after host-1 had it under 7',
  ]);
});

test('what fails, and what is of another resource, holds nothing up', async () => {
  const failed = sync(lease(1), { from: 0, hostEpoch: 9 });
  const waiting = sync(lease(1), { from: 0 });
  const lazy = sync(lease(1, { resource: 'orders/2', epoch: 2 }), { from: 1, isLazy: true });
  expect([await failed, await lazy]).toEqual(['host_changed', 'ok']);
  expect(told).toEqual(['orders/2 granted 2, version 1']);
  // Of the same resource as one that is not on disk yet: after it.
  expect(await sync(lease(2, { epoch: 3 }), { from: 2, isLazy: true })).toBe('ok');
  expect(told).toHaveLength(1);
  commits[0]?.();
  await waiting;
  expect(told.slice(1)).toEqual(['orders/1 granted 1, version 1', 'orders/1 granted 3, version 2']);
});

test('of a life that is over nothing is told', async () => {
  const waiting = sync(lease(1), { from: 0 });
  life.isAlive = false;
  commits[0]?.();
  expect(await waiting).toBe('ok');
  expect(told).toEqual([]);
});
