#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { compileCel } from '../shared/platform/cel.ts';
import { SystemClock } from '../shared/platform/clock.ts';
import { loadConfiguration } from '../shared/platform/configuration.ts';
import { lockDirectory } from '../shared/platform/directory-lock.ts';
import { HttpProbeCaller } from '../shared/platform/http-probe.ts';
import { createLogger } from '../shared/platform/logger.ts';
import { SystemRandom } from '../shared/platform/random.ts';
import { StartError, runDaemon } from '../shared/platform/shutdown.ts';
import { UndiciTransport } from '../shared/client/transport.ts';
import { SidecarConfigSchema, type SidecarConfig } from './config.ts';
import { startSidecar } from './daemon.ts';
import { readDiskSpace } from './journal/disk-space.ts';
import { runJournalTool } from './journal/journal-tool.ts';
import { openJournal } from './journal/open-journal.ts';

/** V8 would rather let garbage grow to several times what lives; every host has this daemon. */
const HEAP_GROWTH = '--heap-growing-percent=50';

if (process.argv[2] === 'journal') {
  process.exitCode = await runJournalTool(process.argv.slice(3), {
    clock: new SystemClock(),
    out: process.stdout,
    err: process.stderr,
  });
} else {
  await startDaemon();
}

function startDaemon(): Promise<void> {
  setFlagsFromString(HEAP_GROWTH);
  return runDaemon(
    () =>
      loadConfiguration(SidecarConfigSchema, {
        program: 'holdfast-sidecar',
        argv: process.argv.slice(2),
        env: process.env,
      }),
    (config) => {
      const lock = lockDirectory(config.dataDir);
      process.once('exit', () => lock.release());
      return startSidecar({
        config,
        hostName: config.hostName ?? hostname().toLowerCase(),
        joinToken: readJoinToken(config),
        clock: new SystemClock(),
        random: new SystemRandom(),
        logger: createLogger({ name: 'sidecar', level: config.logLevel }),
        transport: new UndiciTransport({ url: config.controlUrl }),
        probe: new HttpProbeCaller(),
        openTransport: (url) => new UndiciTransport({ url }, { connections: 2 }),
        compile: compileCel,
        readDiskSpace,
        openJournal,
      });
    },
  );
}

/** A token that was used and removed is no failure: an enrolled host needs none. */
function readJoinToken({ joinTokenFile }: SidecarConfig): string | undefined {
  if (joinTokenFile === undefined) return undefined;
  try {
    return readFileSync(joinTokenFile, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new StartError(
      `cannot read the join token: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
