/**
 * How fast a revocation reaches sidecars: control as a process of its own on its own store, and many
 * hosts in this one, each over a connection of its own with requests that it signs. As sidecars do,
 * each waits for the next bundle, verifies the notice that comes in its place, and syncs to say that
 * it has it. What a sidecar writes to its disk in between is not part of it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openControl, type ControlClient } from '../../shared/client/index.ts';
import { UndiciTransport } from '../../shared/client/transport.ts';
import { ControlProcess, adminTokenIn } from '../fakes/control-process.ts';
import { percentile } from './http-load.ts';
import { LeaseHost } from './lease-host.ts';

export type NoticeFigures = {
  readonly sidecars: number;
  readonly rounds: number;
  /** From the asking of the operator until the host has the notice. */
  readonly reachedP50Ms: number;
  readonly reachedP99Ms: number;
  /** Until control has its confirmation. */
  readonly confirmedP50Ms: number;
  readonly confirmedP99Ms: number;
  /** Hosts that control did not show as confirmed at the end. */
  readonly unconfirmed: number;
};

const ENROLLING_AT_ONCE = 16;
/** All of them have begun to wait by then. */
const SETTLE_MS = 2_000;

export async function benchNotices(options: {
  readonly sidecars: number;
  readonly rounds: number;
  readonly say: (text: string) => void;
}): Promise<NoticeFigures> {
  const { sidecars, rounds, say } = options;
  const root = mkdtempSync(join(tmpdir(), 'holdfast-bench-notices-'));
  const waiters = ['--bundle-waiters-max', String(sidecars + 100)];
  const control = new ControlProcess(['--data-dir', root, '--listen', '127.0.0.1:0', ...waiters]);
  try {
    const url = await control.listening;
    const client = openControl({ endpoint: url, token: adminTokenIn(root) });
    await client.publishPolicy(JSON.stringify(POLICY), { format: 'json', replaces: null });
    const hosts = await enrol(url, client, sidecars);
    say(`${hosts.length} sidecars enrolled`);
    const [reached, confirmed]: [number[], number[]] = [[], []];
    let unconfirmed = 0;
    for (const host of hosts) await host.syncNotices();
    for (let round = 0; round < rounds; round += 1) {
      const waits = hosts.map((host) => host.awaitNotices());
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      const startedMs = performance.now();
      const subject = `agent:bench-${round}`;
      const given = client.notices.record({ kind: 'revoke_principal', subject, reason: 'bench' });
      const came = waits.map(async (wait, index) => {
        await wait;
        reached.push(performance.now() - startedMs);
        await hosts[index]?.syncNotices();
        confirmed.push(performance.now() - startedMs);
      });
      await Promise.all(came);
      const shown = await client.notices.fetch((await given).noticeId);
      unconfirmed += shown.unconfirmed;
      say(`round ${round + 1}: ${shown.confirmed} confirmed, ${shown.unconfirmed} not`);
    }
    await Promise.all(hosts.map((host) => host.close()));
    await client.close();
    const at = (all: number[], share: number): number =>
      percentile(Float64Array.from(all).toSorted(), share);
    return {
      sidecars,
      rounds,
      reachedP50Ms: at(reached, 0.5),
      reachedP99Ms: at(reached, 0.99),
      confirmedP50Ms: at(confirmed, 0.5),
      confirmedP99Ms: at(confirmed, 0.99),
      unconfirmed,
    };
  } finally {
    await control.kill('SIGKILL');
    rmSync(root, { recursive: true, force: true });
  }
}

const POLICY = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:bench': { roles: ['agent'] } },
  rules: [{ name: 'any', actions: ['bench.run'], permit: [{ expression: 'true' }] }],
};

async function enrol(url: string, client: ControlClient, count: number): Promise<LeaseHost[]> {
  const shared = new UndiciTransport({ url }, { connections: ENROLLING_AT_ONCE });
  const hosts: LeaseHost[] = [];
  let next = 0;
  const enrolNext = async (): Promise<void> => {
    for (let index = next; index < count; index = next) {
      next += 1;
      const hostName = `notice-${index}`;
      const { joinToken } = await client.createJoinToken({ hostName });
      hosts.push(await LeaseHost.enrol(url, { joinToken, hostName }, shared));
    }
  };
  await Promise.all(Array.from({ length: ENROLLING_AT_ONCE }, enrolNext));
  await shared.close();
  return hosts;
}
