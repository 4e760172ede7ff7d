/** Hosts that come back all at once, over real sockets: none is lost, and the others are served. */
import { afterEach, expect, test } from 'vitest';
import { LEASE_ENDS_HEADER } from '../../shared/wire/reconnect.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
afterEach(() => world.dispose());

/** Ten a second, so a burst of 16. */
const RATE = 10;
const BURST = 16;
const RESERVED = 4;

type Returning = { readonly host: SigningHost; dueMs: number; tries: number };

async function fleet(count: number): Promise<SigningHost[]> {
  world = await ControlWorld.create({ reconnectRate: RATE });
  await world.publish();
  return Promise.all(
    Array.from({ length: count }, (_, index) => world.enrolHost(`host-${index + 1}`)),
  );
}

const sync = (host: SigningHost, headers: Record<string, string> = {}, renew = [] as never[]) =>
  host.request('POST', '/v1/sync', host.syncBody({ renew }), { headers });

test('120 hosts at once: as many as the bucket holds, the rest at its rate, none lost', async () => {
  const hosts = await fleet(120);
  const startMs = world.clock.now().bootMs;
  let out: Returning[] = hosts.map((host) => ({ host, dueMs: startMs, tries: 0 }));
  const rounds: number[] = [];
  while (out.length > 0) {
    const dueMs = Math.min(...out.map((one) => one.dueMs));
    await world.clock.advance(Math.max(0, dueMs - world.clock.now().bootMs));
    const due = out.filter((one) => one.dueMs <= world.clock.now().bootMs);
    const answers = await Promise.all(due.map(({ host }) => sync(host)));
    for (const [index, one] of due.entries()) {
      const answer = answers[index];
      one.tries += 1;
      if (answer?.status === 200) {
        out = out.filter((other) => other !== one);
        continue;
      }
      expect(answer?.status).toBe(503);
      expect(answer?.json).toMatchObject({ code: 'overloaded', retryable: true });
      // Nothing is withdrawn by it, so nobody signs it.
      expect(answer?.headers.get('holdfast-statement')).toBeNull();
      expect(Number(answer?.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      one.dueMs = world.clock.now().bootMs + Number(answer?.json['retry_after_ms']);
    }
    rounds.push(due.length);
  }
  expect(rounds[0]).toBe(120);
  // What came after came one by one, or nearly.
  expect(Math.max(...rounds.slice(1))).toBeLessThanOrEqual(BURST);
  const seconds = (world.clock.now().bootMs - startMs) / 1_000;
  expect(seconds).toBeLessThan((1.5 * 120) / RATE);
  expect(await world.metric('holdfast_control_reconnects_total{as="returning"}')).toBe(120);
  expect(await world.metric('holdfast_control_syncs_total{outcome="ok"}')).toBe(120);
  // In contact they pay nothing: all of them once more, at the same moment.
  await world.clock.advance(1_000);
  const again = await Promise.all(hosts.slice(-60).map((host) => sync(host)));
  expect(again.map(({ status }) => status)).toEqual(again.map(() => 200));
});

test('I7: renewals go before syncs, one about to end is never sent away; bundles and reports wait', async () => {
  const hosts = await fleet(BURST + 6);
  const [holder, ...others] = hosts as [SigningHost, ...SigningHost[]];
  const { leases } = await holder.sync({ acquire: ['orders/1'] });
  const renew = leases.map(({ resource, epoch }) => ({ resource, epoch })) as never[];
  // As after a cut: nobody is in contact any more, and the lease has time left.
  await world.clock.advance(16_000);
  const statuses: number[] = [];
  for (const host of others) statuses.push((await sync(host)).status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(BURST - RESERVED);
  expect(statuses.slice(BURST - RESERVED).every((status) => status === 503)).toBe(true);
  const [returned] = others as [SigningHost];
  expect((await returned.request('GET', '/v1/bundle')).status).toBe(503);
  returned.record('policy_activated', { policyRevision: 1 });
  expect((await returned.report(returned.journal())).status).toBe(503);
  // What only says that it renews is let in no sooner; operators are not asked to wait.
  const liar = others.at(-1) as SigningHost;
  expect((await sync(liar, { [LEASE_ENDS_HEADER]: '3000' })).status).toBe(503);
  expect((await world.get('/v1/hosts')).status).toBe(200);
  const renewal = (endsMs: number) => sync(holder, { [LEASE_ENDS_HEADER]: `${endsMs}` }, renew);
  expect((await renewal(14_000)).status).toBe(200);
  expect(await world.metric('holdfast_control_deferrals_total{request="bundle"}')).toBe(1);
  expect(await world.metric('holdfast_control_deferrals_total{request="report"}')).toBe(1);
  await world.clock.advance(5_000);
  expect((await returned.request('GET', '/v1/bundle')).status).toBe(200);
  expect((await returned.report(returned.journal())).status).toBe(200);
});

test('who has no key empties no bucket: a crowd of strangers costs hosts nothing but a wait', async () => {
  const [host] = (await fleet(1)) as [SigningHost];
  const token = (text: string): string => `${text.slice(0, -4)}AAAA`;
  for (let count = 0; count < 3 * BURST; count += 1) {
    const forged = await host.request('POST', '/v1/sync', host.syncBody(), { token });
    expect(forged.status).toBe(401);
  }
  expect((await sync(host)).status).toBe(200);
});
