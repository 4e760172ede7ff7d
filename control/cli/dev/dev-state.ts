/**
 * What `holdfast dev` leaves in its data directory for the other terminal: where its daemons
 * listen, where the tokens are, and how to reach the supervisor. The file holds a secret, so only
 * its owner may read it.
 */
import { join } from 'node:path';
import { readFileIfAny, writeDurableFile } from '../../../shared/platform/durable-file.ts';

export const DEV_DIR_NAME = '.holdfast';

export type DevState = {
  readonly controlUrl: string;
  readonly controlTokenFile: string;
  readonly sidecarUrl: string;
  readonly sidecarTokenFile: string;
  /**
   * `null` once `holdfast dev` has ended. After a crash it is stale: only an answer proves the
   * supervisor.
   */
  readonly supervisor: {
    readonly pid: number;
    readonly url: string;
    readonly token: string;
  } | null;
};

const pathIn = (dataDir: string): string => join(dataDir, 'dev.json');

export function writeDevState(dataDir: string, state: DevState): void {
  writeDurableFile(pathIn(dataDir), `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
}

/** `null` where `holdfast dev` never ran, or where the file is not one of this version. */
export function readDevState(dataDir: string): DevState | null {
  const text = readFileIfAny(pathIn(dataDir));
  if (text === null) return null;
  try {
    const state = JSON.parse(text) as Partial<DevState>;
    const isComplete =
      typeof state.controlUrl === 'string' &&
      typeof state.controlTokenFile === 'string' &&
      typeof state.sidecarUrl === 'string' &&
      typeof state.sidecarTokenFile === 'string' &&
      state.supervisor !== undefined;
    return isComplete ? (state as DevState) : null;
  } catch {
    // Written whole or not at all by us, so this is the file of somebody else.
    return null;
  }
}
