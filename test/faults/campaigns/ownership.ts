/**
 * Two real sidecars and one resource under strict ownership, and one fault after the other on
 * whoever owns it: no write below the highest token is taken by the target, no two owners believe
 * at once that they are it, and work goes on.
 */
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import type { OwnershipHost } from '../ownership/ownership-host.ts';
import { OwnershipRecord } from '../ownership/ownership-record.ts';
import { OwnershipSite, TTL_MS } from '../ownership/ownership-site.ts';
import { pause } from '../pause.ts';

const TAKEOVER_BOUND_MS = 30_000;
const POLL_MS = 20;
const LATE_SHARE = 0.9;
const COPY_AGE_MINUTES = 60;

type Fault = {
  readonly name: string;
  readonly begin: (scene: Scene) => Promise<void> | void;
  readonly end: (scene: Scene) => Promise<void> | void;
  /** The other host owns it meanwhile, or what else is waited for. */
  readonly until: 'another owns it' | 'some seconds' | 'its clock is distrusted';
};

type Scene = {
  readonly site: OwnershipSite;
  readonly record: OwnershipRecord;
  readonly owner: OwnershipHost;
};

const nothing = (): void => undefined;
const cut = (name: string, wire: { up: boolean; down: boolean }): Fault => ({
  name,
  begin: ({ owner }) => owner.wire.set(wire),
  end: ({ owner }) => owner.wire.heal(),
  until: 'another owns it',
});
const wallStep = (name: string, hours: number): Fault => ({
  name,
  begin: ({ owner, record }) => {
    owner.stepWallClock(hours);
    record.forgetPromises(owner.name, performance.now());
  },
  end: ({ owner, record }) => {
    owner.stepWallClock(0);
    record.forgetPromises(owner.name, performance.now());
  },
  until: 'its clock is distrusted',
});

/** In the order in which they are done. */
const FAULTS: readonly Fault[] = [
  {
    name: 'owner paused past expiry',
    begin: ({ owner }) => owner.signal('SIGSTOP'),
    end: ({ owner }) => owner.signal('SIGCONT'),
    until: 'another owns it',
  },
  {
    name: 'answers late by 0.9 ttl',
    begin: ({ owner }) => owner.wire.set({ answersLateMs: TTL_MS * LATE_SHARE }),
    end: ({ owner }) => owner.wire.heal(),
    until: 'some seconds',
  },
  cut('cut both ways', { up: false, down: false }),
  cut('cut on the way up', { up: false, down: true }),
  cut('cut on the way down', { up: true, down: false }),
  {
    name: 'control put back an hour',
    begin: async ({ site }) => {
      await site.killControl();
      site.restoreDatabase();
      await site.startControl();
    },
    end: nothing,
    until: 'some seconds',
  },
  wallStep('wall clock an hour ahead', 1),
  wallStep('wall clock an hour back', -1),
  {
    name: 'boot clock ahead by 10 s',
    begin: ({ owner, record }) => {
      owner.jumpBootClock(10);
      record.forgetPromises(owner.name, performance.now());
    },
    end: nothing,
    until: 'its clock is distrusted',
  },
];

export const ownership: Campaign = {
  name: 'ownership',
  about: 'two sidecars, one resource: pauses, cut wires, clocks that jump, control put back',
  cyclesAtFirst: FAULTS.length,
  needs: ['unshare', 'mount', 'faketime'],
  run,
};

async function run({ cycles, from, undo, isOver, say }: CampaignOptions): Promise<CampaignReport> {
  const record = new OwnershipRecord();
  const site = await OwnershipSite.make(undo, record);
  const { withoutNetworks } = site;
  const cutBy = withoutNetworks === null ? 'network namespaces' : `a proxy (${withoutNetworks})`;
  say(`cut by ${cutBy}`);
  const breaches: Breach[] = [];
  const tally: Record<string, number> = {};
  let lateWrites = 0;
  for (const host of site.hosts) host.start();
  await ownerOf(site, record);
  // What it is put back to is an hour old, and knows none of the owners that come after.
  await site.killControl();
  site.copyDatabase();
  for (const host of site.hosts) {
    host.stepWallClock(0);
    record.forgetPromises(host.name, performance.now());
  }
  await site.startControl();
  const copyAgeMinutes = await site.knowledgeAgeMinutes();
  if (copyAgeMinutes < COPY_AGE_MINUTES)
    breaches.push({ what: 'the copy of control', detail: `is ${copyAgeMinutes} minutes old` });
  for (let done = 0; done < cycles && !isOver() && breaches.length === 0; done += 1) {
    const fault = FAULTS[(from - 1 + done) % FAULTS.length];
    if (fault === undefined) break;
    const owner = await ownerOf(site, record);
    const epoch = record.highestEpoch;
    const startedMs = performance.now();
    const scene = { site, record, owner };
    const alarms = await owner.clockAlarms();
    await fault.begin(scene);
    const came = await outcomeOf(fault, scene, { epoch, alarms });
    await fault.end(scene);
    if (!came) breaches.push({ what: fault.name, detail: `${fault.until}: not within the bound` });
    // A worker that was held up since it was given its token, and writes only now.
    if (record.highestEpoch > epoch) {
      lateWrites += 1;
      if (record.write(`${owner.name}, late`, epoch, performance.now()))
        breaches.push({
          what: fault.name,
          detail: `a write under ${epoch} came late and was taken`,
        });
    }
    tally[fault.name] = (tally[fault.name] ?? 0) + 1;
    say(`${fault.name}: ${owner.name}, ${Math.round(performance.now() - startedMs)} ms`);
  }
  const last = breaches.length === 0 ? await ownerOf(site, record) : null;
  await site.close();
  if (last === null && breaches.length === 0)
    breaches.push({ what: 'the end', detail: 'nobody owns the resource any more' });
  const accepted = record.writes.filter(({ isAccepted }) => isAccepted);
  return {
    counts: {
      ...tally,
      'cut by': cutBy,
      'age of the copy in minutes': copyAgeMinutes,
      owners: new Set(record.beliefs.map(({ epoch }) => epoch)).size,
      'stretches of belief': record.beliefs.length,
      'writes taken': accepted.length,
      'writes refused by the target': record.writes.length - accepted.length,
      'of them sent late on purpose': lateWrites,
      'work refused': site.hosts.reduce((sum, { refusedWork }) => sum + refusedWork, 0),
    },
    faults: tally,
    checks: { I6: record.writes.length, I7: record.beliefs.length },
    lies: record.lies(),
    breaches,
  };
}

/** Who has just written; throws where nobody does for long. */
async function ownerOf(site: OwnershipSite, record: OwnershipRecord): Promise<OwnershipHost> {
  const before = record.writes.length;
  const isSeen = await until(() => record.writes.length > before + 2);
  const last = record.writes.findLast(({ isAccepted }) => isAccepted);
  const owner = site.hosts.find(({ name }) => name === last?.holder);
  if (!isSeen || owner === undefined) throw new Error('nobody owns the resource for 30 seconds');
  return owner;
}

async function outcomeOf(
  { until: kind }: Fault,
  { record, owner }: Scene,
  before: { readonly epoch: number; readonly alarms: number },
): Promise<boolean> {
  if (kind === 'some seconds') {
    await pause(TTL_MS * 3);
    return true;
  }
  if (kind === 'another owns it')
    return until(() =>
      record.writes.some(
        ({ epoch, holder, isAccepted }) =>
          isAccepted && epoch > before.epoch && holder !== owner.name,
      ),
    );
  if (!(await untilAsked(async () => (await owner.clockAlarms()) > before.alarms))) return false;
  // Longer than its lease lasted: control does not take what is signed at such a time.
  await pause(TTL_MS * 2);
  return true;
}

async function until(isSo: () => boolean): Promise<boolean> {
  return untilAsked(() => Promise.resolve(isSo()));
}

async function untilAsked(isSo: () => Promise<boolean>): Promise<boolean> {
  const startedMs = performance.now();
  while (!(await isSo())) {
    if (performance.now() - startedMs > TAKEOVER_BOUND_MS) return false;
    await pause(POLL_MS);
  }
  return true;
}
