/** The recorded turns of the model, with what happens around them, one on a line. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export type ProposedCall = {
  readonly tool: string;
  readonly args: Readonly<Record<string, string | number>>;
};

/**
 * Where a process is killed with -9 around a call, counted from 1 in its turn; where that call comes to
 * no tool, in the next one of the same tool. `before`: the tool has been called and has not acted. `after`: it has acted and has not answered. `answered`: while its
 * answer is on the way.
 */
export type Crash = {
  readonly victim: 'agent' | 'sidecar';
  readonly call: number;
  readonly when: 'before' | 'after' | 'answered';
};

export type RecordedTurn = {
  readonly says: string;
  readonly calls: readonly ProposedCall[];
  readonly crashes: readonly Crash[];
  /** Control is killed before this turn, or is back before it. */
  readonly control: 'away' | 'back' | null;
  /** A person decides what waits for an approval before this turn. */
  readonly person: 'approves' | null;
};

export const TURNS_FILE = fileURLToPath(new URL('./turns.ndjson', import.meta.url));

/** Throws with the line that is wrong. */
export function readTurns(file: string): readonly RecordedTurn[] {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return lines.map((line, index) => {
    const turn = JSON.parse(line) as Partial<RecordedTurn>;
    const { says, calls, crashes = [], control = null, person = null } = turn;
    const isCall = ({ tool, args }: ProposedCall): boolean =>
      typeof tool === 'string' && typeof args === 'object';
    if (typeof says !== 'string' || !Array.isArray(calls) || !calls.every(isCall))
      throw new Error(`${file}:${index + 1}: a turn has says, and calls with tool and args`);
    return { says, calls, crashes, control, person };
  });
}
