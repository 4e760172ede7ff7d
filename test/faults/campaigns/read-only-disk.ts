/** From the Kth write of every thread on, the file system takes nothing more: EROFS. */
import { join } from 'node:path';
import type { Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import { STRACE, readOnlyWrites } from '../inject/system-calls.ts';
import { makeSite } from '../sidecar/site.ts';
import {
  faultChecks,
  faultCounts,
  runUnderFault,
  type FaultyRun,
  injectedIn,
} from './faulty-run.ts';

const CLIENTS = 8;
/** A commit is several writes: these are far enough apart to meet different ones. */
const STRIDE = 37;

export const readOnlyDisk: Campaign = {
  name: 'erofs',
  about: 'every write from the Kth on fails with EROFS, as after a remount for reading only',
  cyclesAtFirst: 6,
  needs: [STRACE],
  run,
};

async function run(options: CampaignOptions): Promise<CampaignReport> {
  const { cycles, isOver, say } = options;
  const site = await makeSite(options.undo);
  const runs: FaultyRun[] = [];
  for (let cycle = 1; cycle <= cycles && !isOver(); cycle += 1) {
    const nth = 1 + (cycle - 1) * STRIDE;
    const injection = readOnlyWrites(nth, join(site.root, 'trace'));
    const name = `write${nth}`;
    const loaded = await runUnderFault(site, options, { name, injection, clients: CLIENTS });
    runs.push(loaded);
    say(`from write ${nth} on: ${loaded.outcome}`);
  }
  return {
    counts: faultCounts(runs),
    faults: { 'write failed, the disk is read-only': injectedIn(runs) },
    checks: faultChecks(runs),
    lies: runs.flatMap(({ lies }) => lies),
    breaches: runs.flatMap(({ breaches }) => breaches),
  };
}
