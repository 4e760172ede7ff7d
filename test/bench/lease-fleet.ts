/** Many sidecars of the benchmarks, enrolled at one control, and what that process takes of memory. */
import { readFileSync } from 'node:fs';
import { openControl } from '../../shared/client/index.ts';
import { UndiciTransport } from '../../shared/client/transport.ts';
import { adminTokenIn } from '../fakes/control-process.ts';
import { LeaseHost } from './lease-host.ts';

const ENROLLING_AT_ONCE = 16;

export async function enrolFleet(
  url: string,
  dataDir: string,
  { count, prefix }: { readonly count: number; readonly prefix: string },
): Promise<LeaseHost[]> {
  const client = openControl({ endpoint: url, token: adminTokenIn(dataDir) });
  const shared = new UndiciTransport({ url }, { connections: ENROLLING_AT_ONCE });
  const hosts: LeaseHost[] = [];
  let next = 0;
  const enrol = async (): Promise<void> => {
    for (let index = next; index < count; index = next) {
      next += 1;
      const hostName = `${prefix}-${index}`;
      const { joinToken } = await client.createJoinToken({ hostName });
      hosts.push(await LeaseHost.enrol(url, { joinToken, hostName }, shared));
    }
  };
  await Promise.all(Array.from({ length: ENROLLING_AT_ONCE }, enrol));
  await client.close();
  await shared.close();
  return hosts;
}

export function residentKb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}
