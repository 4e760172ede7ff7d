/** What control and the sidecars have in common: a machine, a disk, and one life after another. */
import type { DaemonEnd } from '../history.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import type { Agenda } from './agenda.ts';
import { Disk } from './disk.ts';
import type { HistoryLog } from './history-log.ts';
import type { DiskTiming } from './journal-here.ts';
import { Life, type Aim } from './life.ts';
import { MachineClock } from './machine-clock.ts';

export type NodeParts = {
  readonly name: string;
  readonly agenda: Agenda;
  readonly log: HistoryLog;
  readonly random: FakeRandom;
  readonly root: string;
};

export type StartOutcome = {
  readonly outcome: 'serving' | 'quarantined' | 'refused_to_start';
  readonly detail: string | null;
  readonly hostId: string | null;
  readonly run: number | null;
  readonly journalSeq: number | null;
};

const FREE_BYTES = 10 * 1024 ** 3;
const WRITE_MS_MAX = 4;
const RESTART_MS_MIN = 500;
const RESTART_MS_MAX = 20_000;

export abstract class DaemonNode implements DiskTiming {
  readonly name: string;
  readonly machine: MachineClock;
  readonly disk: Disk;
  readonly agenda: Agenda;
  readonly log: HistoryLog;
  readonly random: FakeRandom;
  freeBytes = FREE_BYTES;
  /** Besides the usual time of a write. */
  slowMs = 0;
  /** The next write ends so. */
  diskFailure: 'before' | 'after' | null = null;
  /** Held down by a fault: nothing starts it meanwhile. */
  isHeldDown = false;
  #life: Life | null = null;
  #lives = 0;
  #isSpawning = false;
  readonly #dead: Life[] = [];

  constructor(parts: NodeParts) {
    this.name = parts.name;
    this.agenda = parts.agenda;
    this.log = parts.log;
    this.random = parts.random;
    this.machine = new MachineClock(parts.name, parts.agenda);
    this.disk = new Disk(`${parts.root}/${parts.name}`);
  }

  /** Only where it has a door. */
  life(): Life | null {
    return this.#life?.app === null ? null : this.#life;
  }

  get isUp(): boolean {
    return this.life() !== null;
  }

  /** How many lives have begun. */
  get lives(): number {
    return this.#lives;
  }

  get hasLife(): boolean {
    return this.#life !== null;
  }

  writeMs(): number {
    return 1 + this.random.below(WRITE_MS_MAX) + Math.floor(this.random.unit() * this.slowMs);
  }

  isSlow(): boolean {
    return this.slowMs > 0;
  }

  takeFailure(): 'before' | 'after' | null {
    const failure = this.diskFailure;
    this.diskFailure = null;
    return failure;
  }

  /** Begins a life; resolves when it serves, or has refused to. Never rejects. */
  async start(): Promise<void> {
    if (this.#life !== null || this.isHeldDown) return;
    const { suspendedUntilMs } = this.machine;
    if (suspendedUntilMs > this.agenda.nowMs)
      return void this.agenda.at(suspendedUntilMs, () => void this.start());
    this.#lives += 1;
    const life = new Life(this.#lives, this.machine);
    this.#life = life;
    let told: StartOutcome;
    try {
      told = await life.within(() => this.open(life));
    } catch (error) {
      if (!life.isAlive) return;
      const detail = error instanceof Error ? error.message : String(error);
      told = { outcome: 'refused_to_start', detail, hostId: null, run: null, journalSeq: null };
    }
    if (!life.isAlive) return;
    this.log.add({
      kind: 'daemon_started',
      node: this.name,
      start: life.number,
      clock: this.machine.now(),
      ...told,
    });
    if (told.outcome === 'refused_to_start') this.#finish(life);
    if (told.outcome !== 'serving') this.troubled(told);
  }

  /** A start that did not come to serving; what a person does then. */
  protected abstract troubled(told: StartOutcome): void;
  protected abstract open(life: Life): Promise<StartOutcome>;
  protected abstract stopping(life: Life): Promise<void>;

  /** As whoever runs it stops it: it ends its work first. */
  async stop(): Promise<void> {
    const life = this.life();
    if (life === null) return;
    await this.stopping(life);
    if (life.isAlive) this.#end(life, 'stopped', null, null);
  }

  /** Cut off where it stands; the disk is as the system has it, or as it was synced. */
  crash(point: string | null, isPowerLoss: boolean): void {
    const life = this.#life;
    if (life === null) return;
    const lost = isPowerLoss ? this.disk.powerLost(this.random) : null;
    if (!isPowerLoss) this.disk.killed();
    const detail =
      lost === null
        ? null
        : `reverted ${lost.reverted.join(', ') || 'nothing'}; ${lost.tornBytes} torn bytes`;
    this.#end(life, 'crashed', point, detail);
    this.restartSoon();
  }

  /** Cut off at the next time that it comes there. */
  aimCrash(aim: Aim, isPowerLoss: boolean): boolean {
    const life = this.#life;
    if (life === null) return false;
    life.aim(aim, () =>
      this.crash(aim.kind === 'port' ? `port ${aim.nth}` : aim.name, isPowerLoss),
    );
    return true;
  }

  /** It ended by itself. */
  protected ended(life: Life, detail: string): void {
    if (!life.isAlive) return;
    this.disk.killed();
    this.#end(life, 'ended', null, detail);
    this.restartSoon();
  }

  restartSoon(withinMs = RESTART_MS_MAX): void {
    if (this.#isSpawning) return;
    this.#isSpawning = true;
    const delayMs = Math.min(withinMs, RESTART_MS_MIN + this.random.below(RESTART_MS_MAX));
    this.agenda.after(delayMs, () => {
      this.#isSpawning = false;
      void this.start();
    });
  }

  /** What is dead holds no file open any more. */
  async bury(): Promise<void> {
    for (const life of this.#dead.splice(0)) await life.bury();
  }

  #end(life: Life, how: DaemonEnd, point: string | null, detail: string | null): void {
    this.log.add({
      kind: 'daemon_ended',
      node: this.name,
      start: life.number,
      clock: this.machine.now(),
      how,
      point,
      detail,
    });
    this.#finish(life);
  }

  #finish(life: Life): void {
    this.#life = null;
    this.#dead.push(life);
    life.end();
  }
}
