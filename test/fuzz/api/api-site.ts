/** Both daemons, joined to each other, for one of them to be fuzzed, and a look into what it needs. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pause } from '../../faults/pause.ts';
import { JoinedDaemons, type DaemonName } from '../../faults/sidecar/joined-daemons.ts';
import type { Undo } from '../../faults/undo.ts';

export type Heap = { readonly heapUsed: number; readonly rss: number; readonly external: number };

const PRELOAD = new URL('./heap-preload.ts', import.meta.url).href;
export const POLICY_TEXT = readFileSync(new URL('./fuzz-policy.yaml', import.meta.url), 'utf8');
const HEAP_BOUND_MS = 20_000;
const POLL_MS = 20;

export function startForFuzzing(undo: Undo): Promise<JoinedDaemons> {
  return JoinedDaemons.start(undo, {
    kind: 'fuzz',
    policy: POLICY_TEXT,
    controlSettings: ['--log-level', 'error'],
    sidecarSettings: { HOLDFAST_SYNC_INTERVAL: '1s' },
    environment: (name, root) => ({
      NODE_OPTIONS: `--import=${PRELOAD}`,
      FUZZ_HEAP_FILE: heapFile(root, name),
    }),
  });
}

function heapFile(root: string, name: DaemonName): string {
  return join(root, `${name}.heap`);
}

/** What it needs once all garbage is collected. */
export async function heapOf(daemons: JoinedDaemons, name: DaemonName): Promise<Heap> {
  const path = heapFile(daemons.root, name);
  rmSync(path, { force: true });
  process.kill(daemons[name].pid, 'SIGWINCH');
  const startedMs = performance.now();
  for (;;) {
    try {
      return JSON.parse(readFileSync(path, 'utf8')) as Heap;
    } catch {
      if (performance.now() - startedMs > HEAP_BOUND_MS)
        throw new Error(`${name} did not say what memory it needs`);
      await pause(POLL_MS);
    }
  }
}

/** The newest of what control logged as an error: what a client is not told. */
export function controlErrors({ control }: JoinedDaemons): string {
  const errors = control.lines.filter(({ level }) => level === 'error');
  return JSON.stringify(errors.slice(-3)).slice(0, 2_000);
}
