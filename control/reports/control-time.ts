/** Control's own time as it is read: see `core/control-time.ts`. */
import type { Clock } from '../../shared/platform/clock.ts';
import { onScale, scaleAt, type TimeScale } from '../core/control-time.ts';
import type { TimelineStore } from '../store/divergence-store.ts';

export class ControlTime {
  readonly scales: readonly TimeScale[];
  readonly #clock: Clock;
  readonly #scale: TimeScale;

  private constructor(clock: Clock, scales: readonly TimeScale[], scale: TimeScale) {
    this.#clock = clock;
    this.scales = scales;
    this.#scale = scale;
  }

  static async open(ports: { store: TimelineStore; clock: Clock }): Promise<ControlTime> {
    const { store, clock } = ports;
    const scales = await store.scales();
    const newest = scales.at(-1) ?? null;
    const scale = scaleAt(newest, await store.lastKnownMs(), clock.now());
    if (scale === newest) return new ControlTime(clock, scales, scale);
    await store.addScale(scale);
    return new ControlTime(clock, [...scales, scale], scale);
  }

  nowMs(): number {
    return onScale(this.#scale, this.#clock.now());
  }
}
