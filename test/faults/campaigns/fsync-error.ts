/** The Kth flush of every thread fails, for K = 1, 2, 3…: in the start first, then in commits. */
import { join } from 'node:path';
import type { Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import { STRACE, failingFlush } from '../inject/system-calls.ts';
import { makeSite } from '../sidecar/site.ts';
import { checkFirstStart } from './first-start.ts';
import {
  faultChecks,
  faultCounts,
  runUnderFault,
  type FaultyRun,
  injectedIn,
} from './faulty-run.ts';

const MANY_CLIENTS = 8;

export const fsyncError: Campaign = {
  name: 'fsync-error',
  about:
    'the Kth fsync fails with EIO, K = --from and the --cycles after it, in the start and in commits',
  cyclesAtFirst: 12,
  needs: [STRACE],
  run,
};

async function run(options: CampaignOptions): Promise<CampaignReport> {
  const { cycles, from, isOver, say } = options;
  const site = await makeSite(options.undo);
  const runs: FaultyRun[] = [];
  // Until one has fewer flushes than K: from there on none of its calls can be hit.
  const firstStarts = { refused: 0, served: 0, 'not hit': 0 };
  const breaches: CampaignReport['breaches'][number][] = [];
  for (let nth = from; nth < from + cycles && !isOver(); nth += 1) {
    const injection = failingFlush(nth, join(site.root, 'trace'));
    if (firstStarts['not hit'] === 0) {
      const first = await checkFirstStart(site, options, { name: `first-K${nth}`, injection });
      breaches.push(...first.breaches);
      firstStarts[first.outcome] += 1;
    }
    // Alone, each call is a commit of its own; together, they share them.
    const clients = nth % 2 === 1 ? 1 : MANY_CLIENTS;
    const loaded = await runUnderFault(site, options, { name: `K${nth}`, injection, clients });
    runs.push(loaded);
    const hit = loaded.injected.map(({ path }) => path.split('/').at(-1)).join(', ');
    say(`K=${nth}: ${loaded.outcome} (${hit === '' ? 'nothing was hit' : hit})`);
  }
  return {
    counts: faultCounts(runs, {
      'first starts refused': firstStarts.refused,
      'first starts that served': firstStarts.served,
    }),
    faults: {
      'flush failed': injectedIn(runs),
      'flush failed in a first start': firstStarts.refused + firstStarts.served,
    },
    checks: faultChecks(runs),
    lies: runs.flatMap(({ lies }) => lies),
    breaches: [...breaches, ...runs.flatMap((one) => one.breaches)],
  };
}
