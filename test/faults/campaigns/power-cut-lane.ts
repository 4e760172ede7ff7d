/** One disk after the other, each with one subject on it that is cut off and started again. */
import { join } from 'node:path';
import type { Breach, CampaignOptions } from '../campaign.ts';
import type { Lie } from '../check/lie.ts';
import { History, type Call } from '../history/history.ts';
import { Workload } from '../history/workload.ts';
import { LoopDisk } from '../inject/loop-disk.ts';
import { JournalProcess } from '../journal/journal-process.ts';
import { pause } from '../pause.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { copySite, type Site } from '../sidecar/site.ts';
import { startText, type Subject } from '../subject.ts';
import { Verifier } from '../verifier.ts';

const CLIENTS = 12;
const LOAD_MS = { least: 5, most: 200 };
const START_CUT_SHARE = 0.1;
const START_CUT_MS_MAX = { journal: 400, daemon: 1_000 };
const DISK_MB = 64;
/** A used disk is replaced by a new one, and with it the journal: its beginning is cut as well. */
const DISK_FULL_SHARE = 0.4;
const CYCLES_PER_DISK_MAX = 40;

type Running = {
  readonly disk: LoopDisk;
  readonly history: History;
  readonly verifier: Verifier;
  subject: Subject;
  cycles: number;
};

export class PowerCutLane {
  readonly kind: 'journal' | 'daemon';
  readonly lies: Lie[] = [];
  readonly breaches: Breach[] = [];
  readonly calls: Call[] = [];
  readonly counts = { disks: 0, cutInStart: 0, afterCut: 0, retried: 0, replayed: 0, entries: 0 };
  cycles = 0;
  readonly #site: Site;
  readonly #options: CampaignOptions;
  #running: Running | null = null;

  constructor(kind: 'journal' | 'daemon', site: Site, options: CampaignOptions) {
    this.kind = kind;
    this.#site = site;
    this.#options = options;
  }

  get isWell(): boolean {
    return this.lies.length + this.breaches.length === 0;
  }

  async cycle(): Promise<void> {
    const { random } = this.#options;
    this.#running ??= await this.#begin();
    const running = this.#running;
    if (!this.isWell) return;
    const { disk, history, verifier } = running;
    this.cycles += 1;
    running.cycles += 1;
    const workload = new Workload({
      target: running.subject.target,
      history,
      random: random.fork(),
      prefix: `${this.kind}-${this.cycles}`,
    });
    const power = await disk.arm();
    workload.start(CLIENTS);
    await pause(LOAD_MS.least + random.below(LOAD_MS.most - LOAD_MS.least));
    // First the snapshot, then the cut: what is answered while it goes on proves nothing.
    history.cut();
    await power.cut();
    await running.subject.kill();
    await workload.stop();
    await running.subject.close();
    history.heal();
    disk.remount();
    if (random.unit() < START_CUT_SHARE) await this.#cutStart(disk);
    running.subject = this.#start(disk);
    if (!(await this.#isReady(running.subject))) return;
    await verifier.afterCrash(running.subject.target, workload.begun);
    const isUsed = disk.usedShare > DISK_FULL_SHARE || running.cycles >= CYCLES_PER_DISK_MAX;
    if (isUsed || verifier.lies.length > 0) await this.finish();
  }

  /** Checks the whole record of the disk in use, and takes it away. */
  async finish(): Promise<void> {
    const running = this.#running;
    if (running === null) return;
    this.#running = null;
    const { disk, subject, verifier, history } = running;
    await subject.close();
    if (this.breaches.length === 0) verifier.checkAll();
    this.lies.push(...verifier.lies);
    this.calls.push(...history.calls);
    this.counts.afterCut += history.endsAfterCut;
    this.counts.retried += verifier.retried;
    this.counts.replayed += verifier.replayed;
    this.counts.entries += verifier.entries;
    disk.remove();
  }

  async #begin(): Promise<Running> {
    const { undo, random } = this.#options;
    this.counts.disks += 1;
    const path = join(this.#site.root, `${this.kind}-disk`);
    const disk = new LoopDisk(path, undo, { sizeMb: DISK_MB });
    if (this.kind === 'daemon') copySite(this.#site, this.#dataDir(disk));
    disk.sync();
    const history = new History();
    const verifier = new Verifier({
      history,
      journalPath: join(this.#dataDir(disk), 'journal/journal.db'),
      random: random.fork(),
    });
    const subject = this.#start(disk);
    await this.#isReady(subject);
    return { disk, history, verifier, subject, cycles: 0 };
  }

  #start(disk: LoopDisk): Subject {
    const { undo } = this.#options;
    const dataDir = this.#dataDir(disk);
    return this.kind === 'journal'
      ? new JournalProcess(join(dataDir, 'journal'), undo)
      : new SidecarProcess(this.#site, undo, { dataDir });
  }

  #dataDir(disk: LoopDisk): string {
    return join(disk.directory, 'data');
  }

  async #isReady(subject: Subject): Promise<boolean> {
    const started = await subject.started();
    if (started.kind === 'ready') return true;
    const what = `${this.kind} did not serve after cut ${this.cycles}`;
    this.breaches.push({ what, detail: startText(started) });
    return false;
  }

  /** Another cut, while the start after the first one is under way. */
  async #cutStart(disk: LoopDisk): Promise<void> {
    const power = await disk.arm();
    const subject = this.#start(disk);
    await pause(this.#options.random.below(START_CUT_MS_MAX[this.kind]));
    await power.cut();
    await subject.close();
    disk.remount();
    this.counts.cutInStart += 1;
  }
}
