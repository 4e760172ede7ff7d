/** Entry of the writer's worker thread: batches in, answers out; the first failure ends it. */
import {
  parentPort,
  receiveMessageOnPort,
  workerData,
  type MessagePort,
} from 'node:worker_threads';
import { SystemClock, type Timer } from '../../shared/platform/clock.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import { SYNC_INTERVAL_MS } from './head-file.ts';
import { JournalEngine } from './journal-engine.ts';
import {
  packBatch,
  unpackCommands,
  type PackedBatch,
  type PackedCommands,
} from './packed-batch.ts';
import type { JournalFiles } from './journal-files.ts';

export type ToWriter = PackedCommands | { readonly close: true };
export type FromWriter =
  | { readonly answer: PackedBatch }
  | { readonly failure: string; readonly storeCode: StoreError['code'] | null }
  | { readonly closed: true };

const port = parentPort;
if (port === null) throw new Error('writer-thread.ts runs as a worker only');
const send = (message: FromWriter): void => port.postMessage(message);

function nextMessage(from: MessagePort): ToWriter | null {
  const next: { message: ToWriter } | undefined = receiveMessageOnPort(from);
  return next?.message ?? null;
}

function failureOf(error: unknown): FromWriter {
  return {
    failure: error instanceof Error ? error.message : String(error),
    storeCode: error instanceof StoreError ? error.code : null,
  };
}

try {
  const clock = new SystemClock();
  const engine = new JournalEngine(workerData as JournalFiles, clock);
  let timer: Timer | null = null;
  // Nothing more may come for a long time, and only a write syncs the head file by itself.
  const syncHeadSoon = (): void => {
    timer ??= clock.startTimer(SYNC_INTERVAL_MS, () => {
      timer = null;
      engine.syncHead();
    });
  };
  send({ answer: packBatch(engine.snapshot()) });
  port.on('message', (first: ToWriter) => {
    // Whatever has come meanwhile goes together: one transaction and one fsync for all of it.
    const messages = [first];
    for (let next = nextMessage(port); next !== null; next = nextMessage(port)) messages.push(next);
    const commands = messages.flatMap((message) =>
      'close' in message ? [] : unpackCommands(message),
    );
    try {
      if (commands.length > 0) {
        send({ answer: packBatch(engine.write(commands)) });
        syncHeadSoon();
      }
    } catch (error) {
      send(failureOf(error));
    }
    if (messages.some((message) => 'close' in message)) {
      engine.close();
      send({ closed: true });
      port.close();
    }
  });
} catch (error) {
  send(failureOf(error));
}
