/**
 * The agent, as a process: it asks the model for a turn, calls the tools that the turn proposes, and
 * tells the model what came of each. It keeps what it was told on disk, turn by turn; a turn in the
 * middle of which it dies was told to nobody, and is proposed again.
 *
 *     agent.ts CONVERSATION TRANSCRIPT MODEL_URL DESK_URL, HOLDFAST_SIDECAR_URL and _TOKEN in its environment
 */
import { existsSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import {
  UnreachableError,
  createHoldfast,
  type Holdfast,
} from '../../../shared/client/holdfast-node.ts';
import { toolBox, type ToolBox } from './tools.ts';
import type { ProposedCall } from './turn-file.ts';

/** What the model was told of one call. */
export type Told = ProposedCall & {
  readonly turn: number;
  readonly call: number;
  readonly status: 'succeeded' | 'refused' | 'failed' | 'unknown' | 'pending' | 'unreachable';
  readonly operationId: string | null;
  readonly detail: string;
  readonly replayed: boolean;
};

/** Asked again where a run was stopped for a reason that has passed; an approval takes longer. */
const TRIES_MAX = 5;

/** A last line that was cut short by a crash is no turn that was told. */
export function readTranscript(file: string): readonly Told[][] {
  return wholeLines(file).map((line) => JSON.parse(line) as Told[]);
}

const wholeLines = (file: string): readonly string[] =>
  existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];

async function main(): Promise<void> {
  const [conversation = '', transcriptFile = '', modelUrl = '', deskUrl = ''] =
    process.argv.slice(2);
  const { HOLDFAST_SIDECAR_URL: url = '', HOLDFAST_SIDECAR_TOKEN: token = '' } = process.env;
  const holdfast = createHoldfast({ url, token, patience: { patienceMs: 60_000 } });
  const call = toolBox(holdfast, { deskUrl, conversation });
  const transcript = [...readTranscript(transcriptFile)];
  const file = await open(transcriptFile, 'a');
  // What is cut off must not become the beginning of the next line.
  const kept = wholeLines(transcriptFile).map((line) => Buffer.byteLength(line) + 1);
  await file.truncate(kept.reduce((sum, bytes) => sum + bytes, 0));
  for (;;) {
    const calls = await askModel(modelUrl, transcript);
    if (calls === null) break;
    const told: Told[] = [];
    for (const proposed of calls) {
      const at = { turn: transcript.length + 1, call: told.length + 1 };
      told.push({ ...proposed, ...at, ...(await outcomeOf(proposed, call, holdfast)) });
    }
    await file.appendFile(`${JSON.stringify(told)}\n`);
    await file.sync();
    transcript.push(told);
  }
  await file.close();
  await holdfast.close();
}

/** `null`: it has no more to say. */
async function askModel(
  url: string,
  transcript: readonly Told[][],
): Promise<readonly ProposedCall[] | null> {
  const body = JSON.stringify({ turn: transcript.length + 1, told: transcript.at(-1) ?? [] });
  const answer = await fetch(url, { method: 'POST', body });
  return ((await answer.json()) as { calls: readonly ProposedCall[] | null }).calls;
}

async function outcomeOf(
  proposed: ProposedCall,
  call: ToolBox,
  holdfast: Holdfast,
): Promise<Omit<Told, keyof ProposedCall | 'turn' | 'call'>> {
  for (let tries = 1; ; tries += 1) {
    try {
      const outcome = await call(proposed);
      const { status, operationId } = outcome;
      if (status === 'succeeded') {
        const { result, replayed } = outcome;
        return { status, operationId, detail: result.receipt, replayed };
      }
      const { detail } = outcome;
      if (status === 'pending' && tries < TRIES_MAX && operationId !== null) {
        const { record } = await holdfast.operation(operationId);
        if (record.state !== 'awaiting_approval') continue;
      }
      return { status, operationId, detail, replayed: false };
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      return { status: 'unreachable', operationId: null, detail: error.message, replayed: false };
    }
  }
}

if (import.meta.main) await main();
