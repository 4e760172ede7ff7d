/**
 * The clocks of one machine, and what a process on it gets of them. A machine's clock runs at its own
 * rate; it jumps, is set, stands still while the machine is suspended, and begins anew with a boot.
 *
 * M1  `running` is what timers count: it stands still in a suspend. `boot` counts that as well; the
 *     wall clock besides is set by people.
 * M2  A timer is a hint: whoever sleeps between two rounds of looking wakes late, on a beat of the
 *     machine. So a run costs less, and what rests on rounds that come in time is found.
 * M3  A process that was cut off is dead for good: its timers never fire, whoever sleeps sleeps on.
 */
import type { Instant } from '../../../shared/core/time.ts';
import type { Clock, Timer } from '../../../shared/platform/clock.ts';
import type { Agenda, Appointment } from './agenda.ts';
import { EPOCH_WALL_MS } from './determinism.ts';

/** Booted long enough ago that no duration reaches before it. */
const FIRST_BOOT_MS = 1_000_000;
const NEW_BOOT_MS = 10_000;
/** What daemons sleep between two rounds. */
const ROUND_MS_MIN = 200;
const ROUND_MS_MAX = 1_000;

export class MachineClock {
  readonly name: string;
  readonly #agenda: Agenda;
  readonly #processes = new Set<ProcessClock>();
  /** M2; 1: as asked. */
  beatMs = 1;
  #rate = 1;
  /** True time at which `#running` was right; in the future while the machine is suspended. */
  #atMs = 0;
  #running = 0;
  #bootAhead: number;
  #wallAhead = EPOCH_WALL_MS - FIRST_BOOT_MS;
  #boots = 1;

  constructor(name: string, agenda: Agenda) {
    this.name = name;
    this.#agenda = agenda;
    this.#bootAhead = FIRST_BOOT_MS;
  }

  get rate(): number {
    return this.#rate;
  }

  /** Until when it is suspended, in true time; in the past where it is not. */
  get suspendedUntilMs(): number {
    return this.#atMs;
  }

  now(): Instant {
    const bootMs = Math.floor(this.#runningNow() + this.#bootAhead);
    return {
      bootMs,
      wallMs: bootMs + Math.round(this.#wallAhead),
      bootId: `${this.name}-boot-${this.#boots}`,
    };
  }

  process(): ProcessClock {
    const clock = new ProcessClock(this, this.#agenda);
    this.#processes.add(clock);
    return clock;
  }

  forget(clock: ProcessClock): void {
    this.#processes.delete(clock);
  }

  setRate(rate: number): void {
    this.#change(() => {
      this.#rate = rate;
    });
  }

  /** Both clocks go on at once: a machine that was put back from a picture of it. */
  jump(byMs: number): void {
    this.#bootAhead += byMs;
  }

  stepWall(byMs: number): void {
    this.#wallAhead += byMs;
  }

  /** Nothing runs for so long; the boot clock knows of it afterwards. */
  suspend(durationMs: number): void {
    this.#change(() => {
      this.#bootAhead += durationMs;
      this.#atMs = this.#agenda.nowMs + durationMs;
    });
  }

  /** Whatever ran on it is gone, and its boot clock begins anew. */
  reboot(): void {
    const { wallMs } = this.now();
    this.#boots += 1;
    this.#bootAhead = NEW_BOOT_MS - this.#runningNow();
    this.#wallAhead = wallMs - NEW_BOOT_MS;
  }

  /** True time at which `running` will be so far. */
  trueAt(running: number): number {
    return Math.ceil(this.#atMs + (running - this.#running) / this.#rate);
  }

  runningNow(): number {
    return this.#runningNow();
  }

  #runningNow(): number {
    const elapsedMs = Math.max(0, this.#agenda.nowMs - this.#atMs);
    return this.#running + elapsedMs * this.#rate;
  }

  #change(change: () => void): void {
    this.#running = this.#runningNow();
    this.#atMs = Math.max(this.#atMs, this.#agenda.nowMs);
    change();
    for (const clock of this.#processes) clock.reschedule();
  }
}

type Set1 = { readonly running: number; readonly fire: () => void; appointment: Appointment };

export class ProcessClock implements Clock {
  readonly #machine: MachineClock;
  readonly #agenda: Agenda;
  readonly #timers = new Set<Set1>();
  #isDead = false;
  /** Called at each use: a place at which a crash may be aimed. */
  onUse: () => void = () => undefined;

  constructor(machine: MachineClock, agenda: Agenda) {
    this.#machine = machine;
    this.#agenda = agenda;
  }

  now(): Instant {
    return this.#machine.now();
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.startTimer(this.#late(durationMs), () => {
        signal?.removeEventListener('abort', giveUp);
        resolve();
      });
      const giveUp = (): void => {
        timer.cancel();
        resolve();
      };
      signal?.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** M2. */
  #late(durationMs: number): number {
    const { beatMs } = this.#machine;
    if (durationMs < ROUND_MS_MIN || durationMs > ROUND_MS_MAX) return durationMs;
    const running = this.#machine.runningNow();
    return Math.ceil((running + durationMs) / beatMs) * beatMs - running;
  }

  startTimer(durationMs: number, fire: () => void): Timer {
    this.onUse();
    if (this.#isDead) return { cancel: () => undefined };
    const running = this.#machine.runningNow() + Math.max(0, durationMs);
    const timer: Set1 = { running, fire, appointment: { cancel: () => undefined } };
    this.#timers.add(timer);
    this.#schedule(timer);
    return {
      cancel: () => {
        timer.appointment.cancel();
        this.#timers.delete(timer);
      },
    };
  }

  reschedule(): void {
    for (const timer of this.#timers) {
      timer.appointment.cancel();
      this.#schedule(timer);
    }
  }

  /** M3. */
  die(): void {
    this.#isDead = true;
    for (const { appointment } of this.#timers) appointment.cancel();
    this.#timers.clear();
    this.#machine.forget(this);
  }

  #schedule(timer: Set1): void {
    timer.appointment = this.#agenda.at(this.#machine.trueAt(timer.running), () => {
      this.#timers.delete(timer);
      timer.fire();
    });
  }
}
