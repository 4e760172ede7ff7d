/**
 * A control whose files were put back to an older copy: of the database, of it without the files
 * beside it, and of the whole directory, which shows nothing of it (I6, I7, I11).
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlWorld, TERM_MS, policyDocument } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

const RESOURCE = 'orders/7';

let world: ControlWorld;
let one: SigningHost;
let two: SigningHost;
beforeEach(async () => {
  world = await ControlWorld.create();
  one = await world.enrolHost('host-1');
  two = await world.enrolHost('host-2');
});
afterEach(() => world.dispose());

/** Nobody restores within the millisecond. */
async function backUpAll(): Promise<() => Promise<void>> {
  const restore = await world.backUp({ all: true });
  return async () => {
    await world.clock.advance(1_000);
    await restore();
  };
}

async function backUpDatabaseAlone(): Promise<() => Promise<void>> {
  await world.stop();
  const copy = mkdtempSync(join(tmpdir(), 'holdfast-copy-'));
  cpSync(join(world.dataDir, 'control.db'), join(copy, 'control.db'));
  await world.start();
  return async () => {
    await world.clock.advance(1_000);
    await world.stop();
    for (const name of ['control.db-wal', 'control.db-shm', 'floor.json', 'epoch-mark'])
      rmSync(join(world.dataDir, name), { force: true });
    cpSync(join(copy, 'control.db'), join(world.dataDir, 'control.db'));
    rmSync(copy, { recursive: true });
    await world.start();
  };
}

/** Both have been heard, so that a start that is no copy grants at once. */
async function hearBoth(): Promise<void> {
  await one.sync();
  await two.sync();
}

const named = (description: string) => policyDocument({ description });

describe('the whole directory put back', () => {
  test('I7: what the copy does not know is not granted before its holder has ended; I6: then above it', async () => {
    const restore = await backUpAll();
    await hearBoth();
    const lost = await one.acquire(RESOURCE);
    await restore();
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toMatchObject([
      { reason: 'recovering', retryAfterMs: TERM_MS },
    ]);
    await world.clock.advance(TERM_MS - 1);
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toHaveLength(1);
    await world.clock.advance(1);
    expect(await two.acquire(RESOURCE)).toBeGreaterThan(lost);
  });

  test('I7: also where the copy looks as if all hosts were lost, and to one that held it then', async () => {
    await one.acquire(RESOURCE);
    const restore = await backUpAll();
    await hearBoth();
    await world.clock.advance(10 * TERM_MS);
    await two.acquire(RESOURCE);
    await restore();
    expect((await one.sync({ acquire: [RESOURCE] })).pending).toMatchObject([
      { reason: 'recovering' },
    ]);
  });

  test('I6: more than a block of grants since the copy', async () => {
    const restore = await backUpAll();
    await hearBoth();
    let lost = 0;
    for (let round = 0; round < 12; round += 1) {
      const acquire = Array.from({ length: 100 }, (_, n) => `x/${n}`);
      lost = Math.max(...(await one.sync({ acquire })).leases.map(({ epoch }) => epoch));
    }
    await restore();
    await world.clock.advance(TERM_MS);
    expect(await two.acquire(RESOURCE)).toBeGreaterThan(lost);
  });

  test('a host that has seen more proves it: what the copy says was held is not renewed', async () => {
    const copied = await two.acquire(RESOURCE);
    const restore = await backUpAll();
    await hearBoth();
    const seen = await one.acquire('orders/8');
    await restore();
    await one.sync({ highWater: { epoch: seen } });
    const renew = [{ resource: RESOURCE, epoch: copied }];
    expect((await two.sync({ renew })).pending).toMatchObject([{ reason: 'recovering' }]);
    expect((await one.sync({ acquire: [RESOURCE] })).pending).toHaveLength(1);
    // Nor is that forgotten when control is started again, then or later.
    await world.restart();
    expect(await world.metric('holdfast_control_rollbacks_total')).toBe(1);
    await world.clock.advance(TERM_MS);
    expect((await two.sync({ renew })).lost).toMatchObject([{ reason: 'expired' }]);
    await world.restart();
    expect(await world.metric('holdfast_control_rollbacks_total')).toBe(0);
    await world.clock.advance(TERM_MS);
    expect((await two.sync({ renew })).lost).toMatchObject([{ reason: 'expired' }]);
  });

  test('an epoch above the counter disowns what this run granted, for a term from then', async () => {
    const granted = await two.acquire(RESOURCE);
    await world.clock.advance(TERM_MS);
    const seen = granted + 1_000_000_000;
    await one.sync({ highWater: { epoch: seen } });
    const renew = [{ resource: RESOURCE, epoch: granted }];
    expect((await two.sync({ renew })).pending).toMatchObject([
      { reason: 'recovering', retryAfterMs: TERM_MS },
    ]);
    expect((await one.sync({ acquire: ['orders/9'] })).pending).toHaveLength(1);
    await world.clock.advance(TERM_MS);
    expect((await two.sync({ renew })).lost).toMatchObject([{ reason: 'expired' }]);
    const next = await two.acquire(RESOURCE);
    expect(next).toBeGreaterThan(seen);
    expect((await two.sync({ renew: [{ resource: RESOURCE, epoch: next }] })).leases).toHaveLength(
      1,
    );
  });

  test('I11: no revision until every host has said what it has seen', async () => {
    await world.publish(named('one'));
    const restore = await backUpAll();
    await world.publish(named('two-A'));
    await hearBoth();
    await restore();
    const refused = await world.publish(named('two-B'));
    expect([refused.status, refused.json]).toMatchObject([
      503,
      { code: 'recovering', retryable: true, retry_after_ms: TERM_MS },
    ]);
    expect(refused.json['detail']).toMatch(/at the latest in 31s$/);
    await one.sync({ highWater: { policyRevision: 1 } });
    expect((await world.publish(named('two-B'))).json['code']).toBe('recovering');
    const waits = async () =>
      JSON.stringify((await world.get('/v1/health')).json).includes('next one waits');
    expect(await waits()).toBe(true);
    await two.sync({ highWater: { policyRevision: 2 } });
    expect(await waits()).toBe(false);
    expect((await world.publish(named('two-B'))).json).toMatchObject({ policyRevision: 3 });
  });

  test('I11: nor under a number that a host was given and refused', async () => {
    await world.publish(named('one'));
    const restore = await backUpAll();
    await world.publish(named('two-A'));
    await restore();
    await one.sync({ highWater: { policyRevision: 1 } });
    const policyRejected = { policyRevision: 2, reason: 'policy_invalid: it is two-A' };
    await two.sync({ highWater: { policyRevision: 1 }, over: { policyRejected } });
    expect((await world.publish(named('two-B'))).json).toMatchObject({ policyRevision: 3 });
  });

  test('I11: nor under a number that was found before the last host was heard', async () => {
    await world.publish(named('one'));
    const restore = await backUpAll();
    await world.publish(named('two-A'));
    await restore();
    await one.sync({ highWater: { policyRevision: 1 } });
    const { hosts } = world.store;
    const highest = hosts.highestReportedRevision.bind(hosts);
    hosts.highestReportedRevision = async () => {
      hosts.highestReportedRevision = highest;
      const found = await highest();
      await two.sync({ highWater: { policyRevision: 2 } });
      return found;
    };
    expect((await world.publish(named('two-B'))).json).toMatchObject({
      code: 'recovering',
      retry_after_ms: 0,
    });
    expect((await world.publish(named('two-B'))).json).toMatchObject({ policyRevision: 3 });
  });

  test('I11: a number that means two documents, as a host was silent for a term, has two tags', async () => {
    await world.publish(named('one'));
    const restore = await backUpAll();
    await world.publish(named('two-A'));
    const held = (await world.get('/v1/bundle')).headers.get('etag') ?? '';
    await restore();
    await world.clock.advance(TERM_MS);
    const again = await world.publish(named('two-B'));
    expect(again.json).toMatchObject({ policyRevision: 2 });
    const bundle = await world.get('/v1/bundle', { 'if-none-match': held });
    expect([bundle.status, bundle.headers.get('etag') === held]).toEqual([200, false]);
  });
});

describe('the database put back without the files beside it', () => {
  test('I6, I7: nothing is granted for a term, over further starts; then above what was lost', async () => {
    const restore = await backUpDatabaseAlone();
    await hearBoth();
    const lost = await one.acquire(RESOURCE);
    await restore();
    await hearBoth();
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toMatchObject([
      { reason: 'recovering' },
    ]);
    await world.restart();
    await hearBoth();
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toMatchObject([
      { reason: 'recovering' },
    ]);
    expect((await world.get('/v1/health')).json).toMatchObject({
      controlPlane: { parts: { leases: { state: 'degraded' } } },
    });
    await world.clock.advance(TERM_MS);
    expect(await two.acquire(RESOURCE)).toBeGreaterThan(lost);
    // Over, and so it stays.
    await world.restart();
    await hearBoth();
    expect(await two.acquire('orders/8')).toBeGreaterThan(lost);
  });

  test('I11: no revision until every host has said what it has seen', async () => {
    await world.publish(named('one'));
    const restore = await backUpDatabaseAlone();
    await world.publish(named('two-A'));
    await restore();
    const refused = await world.publish(named('two-B'));
    expect([refused.status, refused.json]).toMatchObject([
      503,
      { code: 'recovering', retryable: true, retry_after_ms: TERM_MS },
    ]);
    await two.sync({ highWater: { policyRevision: 1 } });
    await world.restart();
    expect((await world.publish(named('two-B'))).json['code']).toBe('recovering');
    await one.sync({ highWater: { policyRevision: 2 } });
    await two.sync({ highWater: { policyRevision: 1 } });
    expect((await world.publish(named('two-B'))).json).toMatchObject({ policyRevision: 3 });
  });

  test('I11: or until a term has passed', async () => {
    const restore = await backUpDatabaseAlone();
    await restore();
    expect((await world.publish()).json['code']).toBe('recovering');
    await world.clock.advance(TERM_MS);
    expect((await world.publish()).status).toBe(201);
  });
});

describe('a restart that is none', () => {
  test('holders renew at once; others wait until every host has been heard under its enrolment', async () => {
    const epoch = await one.acquire(RESOURCE);
    await world.restart();
    expect((await two.sync({ acquire: ['orders/8'] })).pending).toMatchObject([
      { reason: 'recovering' },
    ]);
    expect((await world.publish()).json['code']).toBe('recovering');
    const renew = [{ resource: RESOURCE, epoch }];
    expect((await one.sync({ renew })).leases).toMatchObject([{ epoch }]);
    expect((await world.publish()).status).toBe(201);
    expect(await two.acquire('orders/8')).toBeGreaterThan(epoch);

    await world.restart();
    // As of the start before: it may have been sent then, and says nothing of what its host has now.
    await two.syncOnce();
    expect((await one.sync({ acquire: ['orders/9'] })).pending).toMatchObject([
      { reason: 'recovering' },
    ]);

    await world.restart();
    await one.enrol(await world.joinToken('host-1'));
    await one.sync();
    expect((await two.sync({ acquire: ['orders/9'] })).pending).toHaveLength(1);
    await world.clock.advance(TERM_MS);
    expect((await two.sync({ acquire: ['orders/9'] })).leases).toHaveLength(1);
  });
});
