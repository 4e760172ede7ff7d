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

/** Of a whole history: equal for two runs of one seed, byte for byte. */
export function historyHash(history: unknown): string {
  return createHash('sha256').update(JSON.stringify(history)).digest('hex');
}
