/** What a campaign starts, loads, breaks and starts again: a whole sidecar, or its journal alone. */
import type { WorkTarget } from './history/work-target.ts';

export type Ended = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The end of what it said. */
  readonly said: string;
};

/** What became of a start: it serves, it ended by itself, or it says why it does not serve. */
export type Started =
  | { readonly kind: 'ready' }
  | { readonly kind: 'ended'; readonly ended: Ended }
  | { readonly kind: 'not_ready'; readonly checks: string };

export interface Subject {
  readonly target: WorkTarget;
  started(): Promise<Started>;
  /** kill -9, and wait until it is gone. */
  kill(): Promise<void>;
  /** Kills what still runs, and lets go of connections. */
  close(): Promise<void>;
}

export async function expectReady(subject: Subject): Promise<void> {
  const started = await subject.started();
  if (started.kind !== 'ready') throw new Error(`it does not serve: ${startText(started)}`);
}

export function startText(started: Started): string {
  if (started.kind === 'ready') return 'ready';
  if (started.kind === 'not_ready') return started.checks;
  const { code, signal, said } = started.ended;
  return `ended by ${signal ?? `exit code ${code}`}: ${said}`;
}
