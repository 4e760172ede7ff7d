/**
 * The disk under a loaded journal loses its power at a random moment. Most cycles run the journal
 * alone, which starts fast; a share of them runs the whole daemon.
 */
import type { Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import { historyChecks } from '../check/promise-checks.ts';
import { countCalls } from '../history/history.ts';
import { LOOP_DISK_PROGRAMS } from '../inject/loop-disk.ts';
import { makeSite } from '../sidecar/site.ts';
import { PowerCutLane } from './power-cut-lane.ts';

/** Of all cycles, how many run the whole daemon: one in ten. */
const DAEMON_EVERY = 10;

export const powerCut: Campaign = {
  name: 'powercut',
  about: 'power cut of an ext4 disk under a loaded journal (EXT4 shutdown without flushing)',
  cyclesAtFirst: 50,
  needs: LOOP_DISK_PROGRAMS,
  run,
};

async function run(options: CampaignOptions): Promise<CampaignReport> {
  const { cycles, undo, isOver, say } = options;
  const site = await makeSite(undo);
  const journal = new PowerCutLane('journal', site, options);
  const daemon = new PowerCutLane('daemon', site, options);
  const lanes = [journal, daemon];
  for (let done = 0; done < cycles && !isOver() && lanes.every(({ isWell }) => isWell); done += 1) {
    await (done % DAEMON_EVERY === DAEMON_EVERY - 1 ? daemon : journal).cycle();
    if ((done + 1) % 25 === 0) say(`${done + 1} of ${cycles} power cuts`);
  }
  for (const lane of lanes) await lane.finish();
  const sum = (name: keyof PowerCutLane['counts']): number =>
    lanes.reduce((total, { counts }) => total + counts[name], 0);
  return {
    counts: {
      'cycles of the journal alone': journal.cycles,
      'cycles of the whole daemon': daemon.cycles,
      'cut again in start': sum('cutInStart'),
      disks: sum('disks'),
      ...countCalls(lanes.flatMap(({ calls }) => calls)),
      'answered after the cut began': sum('afterCut'),
      'asked again': sum('retried'),
      'replays of acknowledged': sum('replayed'),
      'entries walked': sum('entries'),
    },
    faults: {
      'power cut': lanes.reduce((total, { cycles: its }) => total + its, 0),
      'power cut in a start': sum('cutInStart'),
    },
    checks: historyChecks(lanes.flatMap(({ calls }) => calls)),
    lies: lanes.flatMap(({ lies }) => lies),
    breaches: lanes.flatMap(({ breaches }) => breaches),
  };
}
