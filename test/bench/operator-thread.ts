/**
 * An operator who looks at the hosts again and again, on a thread of its own: what it waits is not
 * what the sidecars of the benchmark keep their own thread busy with.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { openControl } from '../../shared/client/index.ts';

const ASK_EVERY_MS = 20;

export type OperatorData = { readonly endpoint: string; readonly token: string };

const { endpoint, token } = workerData as OperatorData;
const client = openControl({ endpoint, token });
let tookMs: number[] = [];

/** `take`: how long each answer took since the last time. */
parentPort?.on('message', () => {
  parentPort?.postMessage(tookMs);
  tookMs = [];
});

for (;;) {
  const startedMs = performance.now();
  await client.hosts({ limit: 1 });
  tookMs.push(performance.now() - startedMs);
  await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
}
