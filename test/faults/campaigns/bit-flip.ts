/**
 * One bit of the database or of its write-ahead log is turned over, as they are after a kill, and a
 * sidecar is started on them. Either everything that was acknowledged is there, word for word, or
 * the sidecar says loudly that something is wrong. A start that serves and lacks something, or tells
 * something else, is a silent loss.
 */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import { EMPTY_CHAIN } from '../check/check-journal.ts';
import { checkOperations } from '../check/check-operations.ts';
import { lie, type Lie } from '../check/lie.ts';
import { readJournal } from '../check/read-journal.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import { ProblemError } from '../../../shared/client/index.ts';
import type { Operation } from '../../../shared/wire/operation.ts';
import { History, countCalls, type Call } from '../history/history.ts';
import { Workload } from '../history/workload.ts';
import { flipBit, sizeOf, type Flip } from '../inject/bit-flip.ts';
import { pause } from '../pause.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { copySite, makeSite, type Site } from '../sidecar/site.ts';
import { expectReady, startText } from '../subject.ts';

const CLIENTS = 12;
const LOAD_MS = 1_500;
const ASKED_AGAIN = 10;
const START_REFUSED = 3;

export const bitFlip: Campaign = {
  name: 'bitflip',
  about: 'one random bit of the journal (database or WAL) is flipped before a start',
  cyclesAtFirst: 30,
  needs: [],
  run,
};

type Image = {
  readonly directory: string;
  readonly history: History;
  /** As the sidecar listed them before anything was flipped. */
  readonly operations: ReadonlyMap<string, Operation>;
};

/** `refused` with exit code 3, `quarantined` by its probe, `intact` with everything there. */
type Outcome = 'intact' | 'refused' | 'quarantined' | 'other loud end' | 'silent loss';
type Verdict = { readonly outcome: Outcome; readonly lies: Lie[]; readonly loud: string | null };

async function run({
  cycles,
  random,
  undo,
  isOver,
  say,
}: CampaignOptions): Promise<CampaignReport> {
  const site = await makeSite(undo);
  const image = await makeImage(site, { undo, random });
  const outcomes: Record<string, number> = {};
  const lies: Lie[] = [];
  const breaches: Breach[] = [];
  const dataDir = join(site.root, 'flipped');
  let done = 0;
  for (; done < cycles && !isOver(); done += 1) {
    cpSync(image.directory, dataDir, { recursive: true });
    const file = random.unit() < 0.5 ? 'journal.db' : 'journal.db-wal';
    const path = join(dataDir, 'journal', file);
    const flip: Flip = { path, offset: random.below(sizeOf(path)), bit: random.below(8) };
    flipBit(flip);
    // After a kill the index of the WAL is there, after a reboot it may not be.
    if (random.unit() < 0.5) rmSync(join(dataDir, 'journal/journal.db-shm'), { force: true });
    const what = `${file} offset ${flip.offset} bit ${flip.bit}`;
    const sidecar = new SidecarProcess(site, undo, { dataDir });
    const verdict = await judge(sidecar, image, { dataDir, random });
    await sidecar.close();
    rmSync(dataDir, { recursive: true });
    const outcome = `${file === 'journal.db' ? 'database' : 'WAL'}: ${verdict.outcome}`;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (verdict.outcome === 'silent loss')
      lies.push(...verdict.lies.map((one) => ({ ...one, about: `${what}: ${one.about}` })));
    if (verdict.loud !== null) breaches.push({ what, detail: verdict.loud });
    if ((done + 1) % 10 === 0) say(`${done + 1} of ${cycles} flips`);
  }
  const silent = Object.entries(outcomes)
    .filter(([name]) => name.endsWith('silent loss'))
    .reduce((total, [, count]) => total + count, 0);
  return {
    counts: {
      offsets: done,
      'database bytes': sizeOf(join(image.directory, 'journal/journal.db')),
      'WAL bytes': sizeOf(join(image.directory, 'journal/journal.db-wal')),
      operations: image.operations.size,
      acknowledged: countCalls(image.history.calls)['acknowledged'] ?? 0,
      ...Object.fromEntries(Object.entries(outcomes).toSorted(([a], [b]) => (a < b ? -1 : 1))),
      'silent losses': silent,
    },
    faults: { 'bit flipped': done },
    // A loss that is said is none of a promise: each start has one verdict.
    checks: { I1: done },
    lies,
    breaches,
  };
}

/** Data in the database from a stop that checkpointed, and more in the WAL from a kill after it. */
async function makeImage(
  site: Site,
  { undo, random }: Pick<CampaignOptions, 'undo' | 'random'>,
): Promise<Image> {
  const directory = join(site.root, 'image');
  copySite(site, directory);
  const history = new History();
  for (const part of [1, 2]) {
    const sidecar = new SidecarProcess(site, undo, { dataDir: directory });
    await expectReady(sidecar);
    const prefix = `flip-${part}`;
    const target = sidecar.target;
    const workload = new Workload({ target, history, random: random.fork(), prefix });
    workload.start(CLIENTS);
    await pause(LOAD_MS);
    if (part === 1) {
      await workload.stop();
      await sidecar.stop();
    } else {
      await sidecar.kill();
      await workload.stop();
    }
    await sidecar.close();
  }
  const whole = join(site.root, 'whole');
  cpSync(directory, whole, { recursive: true });
  const sidecar = new SidecarProcess(site, undo, { dataDir: whole });
  await expectReady(sidecar);
  const operations = await sidecar.target.listed();
  await sidecar.close();
  rmSync(whole, { recursive: true });
  const lies = checkOperations(history.calls, operations);
  if (lies.length > 0) throw new Error(`the image itself lies: ${JSON.stringify(lies[0])}`);
  return {
    directory,
    history,
    operations: new Map(operations.map((operation) => [operation.operationId, operation])),
  };
}

async function judge(
  sidecar: SidecarProcess,
  image: Image,
  { dataDir, random }: { readonly dataDir: string; readonly random: FakeRandom },
): Promise<Verdict> {
  const started = await sidecar.started();
  if (started.kind === 'not_ready' && started.checks.includes('quarantined'))
    return { outcome: 'quarantined', lies: [], loud: null };
  if (started.kind === 'ended' && started.ended.code === START_REFUSED)
    return { outcome: 'refused', lies: [], loud: null };
  if (started.kind !== 'ready')
    return { outcome: 'other loud end', lies: [], loud: startText(started) };
  let lies: Lie[];
  try {
    const view = readJournal(join(dataDir, 'journal/journal.db'), EMPTY_CHAIN);
    const listed = await sidecar.target.listed();
    lies = [
      ...checkOperations(image.history.calls, listed),
      ...compare(image, listed),
      ...view.lies,
      ...(await askAgain(sidecar, image, random)),
    ];
  } catch (error) {
    // It serves, and cannot read what it serves from. Loud, but not where it should have been.
    return { outcome: 'other loud end', lies: [], loud: `while it is ready: ${String(error)}` };
  }
  return { outcome: lies.length === 0 ? 'intact' : 'silent loss', lies, loud: null };
}

/** Word for word: nothing moves by itself in the time between. */
function compare({ operations }: Image, found: readonly Operation[]): Lie[] {
  const lies: Lie[] = [];
  for (const operation of found) {
    const before = operations.get(operation.operationId);
    const { idempotencyKey: key } = operation;
    if (before === undefined) lies.push(lie('invented', key, `${operation.operationId} is new`));
    else if (canonicalJson(before) !== canonicalJson(operation))
      lies.push(lie('told_differently', key, 'the record is not what it was'));
  }
  if (found.length < operations.size)
    lies.push(lie('lost', 'operations', `${found.length} of ${operations.size} are listed`));
  return lies;
}

/** By their keys, as clients retry: a record that is not found by its key is admitted twice. */
async function askAgain(
  sidecar: SidecarProcess,
  { history, operations }: Image,
  random: FakeRandom,
): Promise<Lie[]> {
  const acknowledged = history.calls.filter(
    (call): call is Call & { request: { kind: 'admit' } } =>
      call.request.kind === 'admit' && call.end?.kind === 'ok',
  );
  const lies: Lie[] = [];
  for (let asked = 0; asked < ASKED_AGAIN; asked += 1) {
    const call = acknowledged[random.below(acknowledged.length)];
    if (call?.end?.kind !== 'ok') continue;
    const { key } = call.request;
    const known = { operationId: '', attempt: 0 };
    try {
      const { operationId, replayed } = await sidecar.target.perform(call.request, known);
      if (!replayed || operationId !== call.end.answer.operationId || !operations.has(operationId))
        lies.push(lie('doubled', key, `asked again, it is ${operationId}`));
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      lies.push(lie('told_differently', key, `asked again, the answer is ${error.code}`));
    }
  }
  return lies;
}
