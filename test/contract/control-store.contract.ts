/**
 * What every `ControlStore` keeps, whatever is under it: conditional writes, one transaction with the audit
 * trail, one run at a time. Each adapter runs this suite.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkAuditChain } from '../../control/audit-check.ts';
import type { LeaseRecord } from '../../control/core/lease-transition.ts';
import {
  SupersededError,
  type AuditDraft,
  type ControlStore,
  type SyncedHost,
} from '../../control/store/control-store.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import { policyDocument } from '../fakes/control-world.ts';

export type OpenStore = {
  /** Opens the same data again, beside the store that is open already. */
  open(): Promise<ControlStore>;
  dispose(): Promise<void>;
};

const PAGE = { limit: 100, cursor: null };
const KEY = { kty: 'OKP', crv: 'Ed25519', x: 'x'.repeat(43) } as const;

export const audit = (action: string, over: Partial<AuditDraft> = {}): AuditDraft => ({
  atMs: 1,
  actor: 'test',
  action,
  target: 't',
  detail: {},
  ...over,
});

export function revision(policyRevision: number) {
  return {
    policyRevision,
    policyDigest: `digest-${policyRevision}`,
    publishedAtMs: 5,
    publishedBy: 'test',
    comment: null,
    rules: 1,
    policy: policyDocument(),
    bundle: `bundle-${policyRevision}`,
  };
}

const token = (tokenId: string) => ({
  tokenId,
  secretSha256: 's',
  hostName: 'host-1',
  expiresAtMs: 10,
  createdBy: 'test',
  use: null,
});

const enrolling = (over: object = {}) => ({
  tokenId: 'join_1',
  hostId: 'host_1',
  hostName: 'host-1',
  hostEpoch: 1,
  follows: null,
  kid: 'kid-1',
  publicKey: KEY,
  atMs: 3,
  ...over,
});

export const synced = (over: Partial<SyncedHost> = {}): SyncedHost => ({
  hostId: 'host_1',
  hostEpoch: 1,
  atMs: 9,
  sidecarVersion: '1',
  policyRevision: 4,
  policyRejected: null,
  highWater: { policyRevision: 4, epoch: 7 },
  journalSeq: 2,
  operations: { executing: 1 },
  ...over,
});

const record = (over: Partial<LeaseRecord> = {}): LeaseRecord => ({
  resource: 'orders/1',
  epoch: 1,
  state: 'held',
  holder: { hostId: 'host_1', hostEpoch: 1 },
  run: 1,
  endsBootMs: 100,
  termMs: 50,
  grantedAtMs: 1,
  renewedAtMs: 1,
  transitions: 0,
  handover: null,
  version: 1,
  ...over,
});

export type Subject = { data: OpenStore; store: ControlStore };

export const actions = async ({ store }: Subject): Promise<string[]> =>
  (await store.audit.tail(100)).map(({ action }) => action);

export async function enrol({ store }: Subject) {
  await store.hosts.addJoinToken(token('join_1'), audit('made'));
  return store.hosts.enrol(enrolling(), audit('enrolled'));
}

export function controlStoreContract(adapter: string, create: () => Promise<OpenStore>): void {
  describe(`${adapter} keeps what every control store keeps`, () => {
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
    runsAndPublications(at);
    enrolment(at);
    leases(at);
    ordersAndExtensions(at);
    placement(at);
    reportsAndOperators(at);
    auditAndDurability(at);
  });
}

function runsAndPublications(at: Subject): void {
  test('the id of control stays, the run is the newest', async () => {
    expect(await at.store.startRun({ controlId: 'ctl_2', run: 2 })).toEqual({
      controlId: 'ctl_1',
      run: 2,
    });
    expect(await at.store.state()).toEqual({
      controlId: 'ctl_1',
      run: 2,
      highestEpoch: 0,
      longestTermMs: 0,
    });
  });

  test('a run that was followed by another writes nothing more, and says so once', async () => {
    const failures: Error[] = [];
    at.store.onFailure((error) => failures.push(error));
    const next = await at.data.open();
    await next.startRun({ controlId: 'x', run: 2 });
    await expect(at.store.policy.append(revision(1), null, audit('p'))).rejects.toThrow(
      SupersededError,
    );
    await expect(at.store.policy.current()).rejects.toThrow(SupersededError);
    expect(failures).toHaveLength(1);
    expect(await next.policy.append(revision(1), null, audit('p'))).toBe('ok');
    await next.close();
  });

  test('a publication follows the revision it was decided on, or changes nothing', async () => {
    expect(await at.store.policy.current()).toBeNull();
    expect(await at.store.policy.append(revision(3), null, audit('a'))).toBe('ok');
    expect(await at.store.policy.append(revision(4), null, audit('b'))).toBe('conflict');
    expect(await at.store.policy.append(revision(4), 2, audit('c'))).toBe('conflict');
    expect(await at.store.policy.append(revision(4), 3, audit('d'))).toBe('ok');
    expect(await at.store.policy.currentNumber()).toBe(4);
    expect(await at.store.policy.current()).toEqual(revision(4));
    expect(await at.store.policy.fetch(3)).toEqual(revision(3));
    expect(await at.store.policy.fetch(1)).toBeNull();
    expect((await at.store.policy.list(PAGE)).items.map((one) => one.policyRevision)).toEqual([
      4, 3,
    ]);
    expect(await actions(at)).toEqual(['a', 'd']);
  });
}

function enrolment(at: Subject): void {
  test('a join token is used once; the same name is enrolled again only after its epoch', async () => {
    expect(await enrol(at)).toBe('ok');
    expect(
      await at.store.hosts.enrol(enrolling({ hostEpoch: 2, follows: 1, kid: 'kid-2' }), audit('x')),
    ).toBe('conflict');
    await at.store.hosts.addJoinToken(token('join_2'), audit('made'));
    const again = enrolling({ tokenId: 'join_2', hostEpoch: 2, kid: 'kid-2' });
    expect(
      await at.store.hosts.enrol({ ...again, follows: null, hostId: 'host_2' }, audit('x')),
    ).toBe('conflict');
    expect(await at.store.hosts.enrol({ ...again, follows: 2 }, audit('x'))).toBe('conflict');
    expect((await at.store.hosts.joinToken('join_2'))?.use).toBeNull();
    expect(await at.store.hosts.enrol({ ...again, follows: 1 }, audit('again'))).toBe('ok');
    expect((await at.store.hosts.joinToken('join_2'))?.use).toEqual({
      kid: 'kid-2',
      hostId: 'host_1',
      hostEpoch: 2,
    });
    expect(await at.store.hosts.byKey('kid-1')).toMatchObject({
      hostEpoch: 1,
      host: { hostEpoch: 2 },
    });
    expect(await at.store.hosts.byKey('kid-2')).toMatchObject({ hostEpoch: 2, publicKey: KEY });
    expect(await actions(at)).toEqual(['made', 'enrolled', 'made', 'again']);
  });

  test('a key belongs to one host', async () => {
    await enrol(at);
    await at.store.hosts.addJoinToken({ ...token('join_2'), hostName: 'host-2' }, audit('made'));
    const other = enrolling({ tokenId: 'join_2', hostId: 'host_2', hostName: 'host-2' });
    expect(await at.store.hosts.enrol(other, audit('x'))).toBe('conflict');
    expect(await at.store.hosts.byName('host-2')).toBeNull();
  });
}

function leases(at: Subject): void {
  test('a sync moves the host, its leases and the counter together, or none of them', async () => {
    await enrol(at);
    const write = {
      host: synced(),
      leases: [{ record: record(), replacesVersion: null, isExtension: false }],
      epochs: { replaces: 0, highest: 1 },
      audit: [audit('granted')],
      isLazy: false,
    };
    expect(await at.store.leases.applySync(write)).toBe('ok');
    expect(await at.store.hosts.fetch('host_1')).toMatchObject({
      lastSyncAtMs: 9,
      policyRevision: 4,
      operations: { executing: 1 },
    });
    // A first grant of what is there, an old version, an old counter.
    const next = record({ epoch: 2, version: 2, resource: 'orders/2' });
    const conflicting = [
      { ...write, epochs: { replaces: 1, highest: 2 } },
      {
        ...write,
        leases: [
          { record: record({ epoch: 2, version: 2 }), replacesVersion: 7, isExtension: false },
        ],
        epochs: { replaces: 1, highest: 2 },
      },
      {
        ...write,
        leases: [{ record: next, replacesVersion: null, isExtension: false }],
        epochs: { replaces: 0, highest: 2 },
      },
    ];
    for (const one of conflicting) {
      expect(await at.store.leases.applySync({ ...one, host: synced({ atMs: 99 }) })).toBe(
        'conflict',
      );
    }
    expect((await at.store.hosts.fetch('host_1'))?.lastSyncAtMs).toBe(9);
    const found = (bootMs: number, over: object = {}) => {
      const recovery = { kind: 'restart', startedBootMs: 1_000 } as const;
      const when = {
        now: { bootMs, wallMs: 0, bootId: 'boot' },
        run: 1,
        recovery,
        countsHeld: true,
        ...over,
      };
      return at.store.leases.forSync('host_1', ['orders/1', 'orders/2'], when);
    };
    const held = new Map([['orders/1', record()]]);
    expect(await found(99)).toEqual({ leases: held, heldCount: 1, highestEpoch: 1 });
    // Expired, in its own run and in a later one, which counts from its start.
    expect(await found(100)).toEqual({ leases: held, heldCount: 0, highestEpoch: 1 });
    expect(await found(1_049, { run: 2 })).toMatchObject({ heldCount: 1 });
    expect(await found(1_050, { run: 2 })).toMatchObject({ heldCount: 0 });
    expect(await at.store.leases.applySync({ ...write, host: synced({ hostEpoch: 2 }) })).toBe(
      'host_changed',
    );
    expect((await actions(at)).filter((action) => action === 'granted')).toHaveLength(1);
    expect((await at.store.state()).longestTermMs).toBe(50);
  });
}

function ordersAndExtensions(at: Subject): void {
  test('leases that are only extended go on from the version they were read in, all of a sync or none', async () => {
    await enrol(at);
    const names = ['orders/1', 'orders/2'];
    const records = names.map((resource, index) => record({ resource, epoch: index + 1 }));
    const sync = { host: synced(), audit: [], isLazy: true };
    await at.store.leases.applySync({
      ...sync,
      leases: records.map((one) => ({ record: one, replacesVersion: null, isExtension: false })),
      epochs: { replaces: 0, highest: 2 },
    });
    const extended = records.map((one) => ({
      ...one,
      endsBootMs: 500,
      renewedAtMs: 7,
      version: one.version + 1,
    }));
    const extension = (versions: readonly number[]) => ({
      ...sync,
      leases: extended.map((one, index) => ({
        record: one,
        replacesVersion: versions[index] ?? 0,
        isExtension: true,
      })),
      epochs: { replaces: 2, highest: 2 },
    });
    expect(await at.store.leases.applySync(extension([1, 7]))).toBe('conflict');
    expect(await at.store.leases.named(names)).toEqual(records);
    expect(await at.store.leases.applySync(extension([1, 1]))).toBe('ok');
    expect(await at.store.leases.named(names)).toEqual(extended);
    await at.store.close();
    at.store = await at.data.open();
    expect(await at.store.leases.named(names)).toEqual(extended);
  });

  test('an order about a lease is written as it was decided, with its entry, or not at all', async () => {
    await enrol(at);
    const handover = {
      mode: 'drain',
      toHostId: 'host_2',
      by: 'operator:ann',
      reason: null,
      sinceMs: 3,
      run: 1,
      modeSinceBootMs: 4,
      timeoutMs: 5,
      onTimeout: 'give_up',
    } as const;
    const change = (replacesVersion: number | null, over: Partial<LeaseRecord>) =>
      at.store.leases.change({
        lease: { record: record(over), replacesVersion, isExtension: false },
        audit: audit('ordered'),
      });
    expect(await change(null, {})).toBe('ok');
    expect(await change(1, { handover, version: 2 })).toBe('ok');
    expect(await change(1, { version: 2 })).toBe('conflict');
    expect(await at.store.leases.fetch('orders/1')).toEqual(record({ handover, version: 2 }));
    const now = { bootMs: 50, wallMs: 0, bootId: 'boot' };
    const recovery = { kind: 'restart', startedBootMs: 0 } as const;
    const when = { now, run: 1, recovery, countsHeld: false };
    expect((await at.store.leases.forSync('host_2', [], when)).leases.size).toBe(1);
    expect((await actions(at)).filter((action) => action === 'ordered')).toHaveLength(2);
  });

  test('what a host has seen never goes down', async () => {
    await enrol(at);
    const sync = (policyRevision: number) =>
      at.store.leases.applySync({
        host: synced({ highWater: { policyRevision, epoch: policyRevision } }),
        leases: [],
        epochs: { replaces: 0, highest: 0 },
        audit: [],
        isLazy: true,
      });
    await sync(9);
    await sync(3);
    expect(await at.store.hosts.highestReportedRevision()).toBe(9);
    expect((await at.store.hosts.fetch('host_1'))?.highWater).toEqual({
      policyRevision: 9,
      epoch: 9,
    });
  });
}

function placement(at: Subject): void {
  test('placement groups and settings of hosts follow what they were decided on', async () => {
    await enrol(at);
    const spec = { shards: 4, resource: 'orders/{shard}' };
    const group = { name: 'orders', revision: 1, spec, updatedAtMs: 1, updatedBy: 'ann' };
    const { placement: store } = at.store;
    expect(await store.putGroup(group, 0, audit('g1'))).toBe('ok');
    expect(await store.putGroup({ ...group, revision: 2 }, 0, audit('x'))).toBe('conflict');
    const gone = { ...group, revision: 2, spec: null };
    expect(await store.putGroup(gone, 1, audit('g2'))).toBe('ok');
    expect(await store.groups()).toEqual([gone]);
    const settings = { hostId: 'host_1', version: 1, labels: { zone: 'a' }, drain: null };
    expect(await store.putHostSettings(settings, audit('h1'))).toBe('ok');
    expect(await store.putHostSettings(settings, audit('x'))).toBe('conflict');
    const drain = { sinceMs: 1, by: 'ann', reason: null };
    const next = { ...settings, version: 2, drain };
    expect(await store.putHostSettings(next, audit('h2'))).toBe('ok');
    expect(await store.hostSettings()).toEqual([next]);
    expect((await actions(at)).slice(-4)).toEqual(['g1', 'g2', 'h1', 'h2']);
  });
}

function reportsAndOperators(at: Subject): void {
  test('a report follows the position it was decided on', async () => {
    await enrol(at);
    const start = { hostEpoch: 1, seq: 0, hash: FIRST_PREVIOUS_HASH };
    const content = {
      kind: 'policy_activated',
      atMs: 1,
      operationId: null,
      outageId: null,
      bodyText: '{}',
    };
    const event = { ...content, seq: 1, previousHash: FIRST_PREVIOUS_HASH, hash: 'a' };
    const write = {
      hostId: 'host_1',
      hostEpoch: 1,
      follows: start,
      position: { hostEpoch: 1, seq: 1, hash: 'a' },
      receivedAtMs: 3,
      events: [{ event, problem: null }],
      operations: [],
      refusals: [],
      outages: [],
      tallies: new Map(),
      audit: [],
    };
    expect(await at.store.reports.append(write)).toBe('ok');
    expect(await at.store.reports.append(write)).toBe('conflict');
    expect((await at.store.hosts.fetch('host_1'))?.acked).toEqual(write.position);
    expect(await at.store.reports.countUnreadable()).toBe(0);
  });

  test('the last admin stays, and a name is taken once', async () => {
    const operator = (name: string, roles: ('admin' | 'viewer')[]) => ({
      name,
      roles,
      createdAtMs: 1,
      tokenSha256: name,
    });
    expect(await at.store.operators.add(operator('ann', ['admin']), audit('a'))).toBe('ok');
    expect(await at.store.operators.add(operator('ann', ['viewer']), audit('b'))).toBe('exists');
    expect(await at.store.operators.add(operator('bob', ['viewer']), audit('c'))).toBe('ok');
    expect(await at.store.operators.remove('ann', audit('d'))).toBe('last_admin');
    expect(await at.store.operators.remove('eve', audit('e'))).toBe('not_found');
    expect(await at.store.operators.remove('bob', audit('f'))).toBe('ok');
    expect(await at.store.operators.byToken('ann')).toEqual({
      name: 'ann',
      roles: ['admin'],
      createdAtMs: 1,
    });
    expect(await at.store.operators.byToken('bob')).toBeNull();
    expect(await actions(at)).toEqual(['a', 'c', 'f']);
  });
}

function auditAndDurability(at: Subject): void {
  test('the audit trail is chained and listed newest first, in pages', async () => {
    for (const [index, action] of ['a', 'b', 'c', 'd', 'e'].entries()) {
      await at.store.policy.append(
        revision(index + 1),
        index === 0 ? null : index,
        audit(action, { detail: { index, n: null } }),
      );
    }
    const all = await at.store.audit.tail(100);
    expect(checkAuditChain(all)).toBeNull();
    expect(checkAuditChain(await at.store.audit.tail(2))).toBeNull();
    const seqs: number[] = [];
    let cursor: string | null = null;
    do {
      const page: Awaited<ReturnType<typeof at.store.audit.list>> = await at.store.audit.list({
        limit: 2,
        cursor,
      });
      seqs.push(...page.items.map(({ seq }) => seq));
      cursor = page.nextCursor;
    } while (cursor !== null);
    expect(seqs).toEqual([5, 4, 3, 2, 1]);
  });

  test('everything is there when it is opened again', async () => {
    await enrol(at);
    await at.store.policy.append(revision(1), null, audit('p'));
    await at.store.close();
    at.store = await at.data.open();
    expect(await at.store.policy.current()).toEqual(revision(1));
    expect(await at.store.hosts.byName('host-1')).toMatchObject({
      hostId: 'host_1',
      acked: { seq: 0 },
    });
    expect(checkAuditChain(await at.store.audit.tail(100))).toBeNull();
  });
}
