/** Writes the history down, with its times and its hash. */
import { createHash } from 'node:crypto';
import type { EventDraft, HistoryEvent } from '../history.ts';
import type { Agenda } from './agenda.ts';

export class HistoryLog {
  readonly events: HistoryEvent[] = [];
  readonly #agenda: Agenda;

  constructor(agenda: Agenda) {
    this.#agenda = agenda;
  }

  add(draft: EventDraft): HistoryEvent {
    const event: HistoryEvent = { ...draft, seq: this.events.length, atMs: this.#agenda.nowMs };
    this.events.push(event);
    return event;
  }
}

/** Where the disks of a run lie: another directory each time, which messages of daemons name. */
const PLACE = /[^"\s]*holdfast-simulation-[A-Za-z0-9]{6}/g;

/** Of a whole history: equal for two runs of one seed, byte for byte. */
export function historyHash(history: unknown): string {
  return createHash('sha256').update(JSON.stringify(history).replace(PLACE, '')).digest('hex');
}
