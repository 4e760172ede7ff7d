/** Entry of the writer's worker thread: batches in, answers out; the first failure ends it. */
import { parentPort, workerData } from 'node:worker_threads';
import { SystemClock } from '../../shared/platform/clock.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import type { BatchAnswer, JournalCommand } from './journal-command.ts';
import { JournalEngine } from './journal-engine.ts';

export type ToWriter = { readonly commands: readonly JournalCommand[] } | { readonly close: true };
export type FromWriter =
  | { readonly answer: BatchAnswer }
  | { readonly failure: string; readonly storeCode: StoreError['code'] | null }
  | { readonly closed: true };

const port = parentPort;
if (port === null) throw new Error('writer-thread.ts runs as a worker only');
const send = (message: FromWriter): void => port.postMessage(message);

function failureOf(error: unknown): FromWriter {
  return {
    failure: error instanceof Error ? error.message : String(error),
    storeCode: error instanceof StoreError ? error.code : null,
  };
}

try {
  const engine = new JournalEngine((workerData as { path: string }).path, new SystemClock());
  send({ answer: engine.snapshot() });
  port.on('message', (message: ToWriter) => {
    if ('close' in message) {
      engine.close();
      send({ closed: true });
      port.close();
      return;
    }
    try {
      send({ answer: engine.write(message.commands) });
    } catch (error) {
      send(failureOf(error));
    }
  });
} catch (error) {
  send(failureOf(error));
}
