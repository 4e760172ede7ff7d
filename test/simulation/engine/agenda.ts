/**
 * What is to happen, by true simulated time. Time moves only here, and only when nothing can run any
 * more; what is due at the same moment happens in the order in which it was asked for.
 */
import { settle, showTime } from './determinism.ts';

type Entry = { readonly dueMs: number; readonly order: number; fire: (() => void) | null };
export type Appointment = { cancel(): void };

export class Agenda {
  #nowMs = 0;
  #order = 0;
  #steps = 0;
  readonly #heap: Entry[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  /** How many things have happened. */
  get steps(): number {
    return this.#steps;
  }

  at(dueMs: number, fire: () => void): Appointment {
    const entry: Entry = { dueMs: Math.max(this.#nowMs, dueMs), order: (this.#order += 1), fire };
    this.#push(entry);
    return {
      cancel: () => {
        entry.fire = null;
      },
    };
  }

  after(delayMs: number, fire: () => void): Appointment {
    return this.at(this.#nowMs + delayMs, fire);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Until then, or until `isDone` after some step. */
  async run(untilMs: number, isDone: () => boolean = () => false): Promise<void> {
    await settle();
    while (!isDone()) {
      const next = this.#heap[0];
      if (next === undefined || next.dueMs > untilMs) break;
      this.#pop();
      const { fire } = next;
      if (fire === null) continue;
      this.#nowMs = next.dueMs;
      showTime(this.#nowMs);
      this.#steps += 1;
      next.fire = null;
      fire();
      await settle();
    }
    if (!isDone()) this.#nowMs = Math.max(this.#nowMs, untilMs);
    showTime(this.#nowMs);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Entry;
      if (isBefore(parent, entry)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Entry;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      const right = heap[below + 1];
      if (right !== undefined && isBefore(right, heap[below] as Entry)) below += 1;
      const child = heap[below] as Entry;
      if (isBefore(last, child)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
