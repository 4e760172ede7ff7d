/**
 * A sidecar's data directory with a policy in force, made by bringing control and a sidecar up once.
 * Control then stays away: a sidecar serves from its disk.
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { claimPort } from '../../../control/cli/dev/free-port.ts';
import { readSecret } from '../../../control/cli/dev/dev-files.ts';
import { Supervisor } from '../../../control/cli/dev/supervisor.ts';
import { SystemClock } from '../../../shared/platform/clock.ts';
import { SystemRandom } from '../../../shared/platform/random.ts';
import { scratchDirectory } from '../scratch.ts';
import type { Undo } from '../undo.ts';

const POLICY_FILE = fileURLToPath(new URL('./campaign-policy.yaml', import.meta.url));

export type Site = {
  /** Of everything that the campaign writes. */
  readonly root: string;
  /** The sidecar's data, as its first run left it: copy it, or work in it. */
  readonly template: string;
  readonly appsFile: string;
  readonly token: string;
  readonly port: number;
};

export async function makeSite(undo: Undo, policyFile = POLICY_FILE): Promise<Site> {
  const { root } = scratchDirectory(undo, 'faults');
  const supervisor = await Supervisor.open({
    dataDir: join(root, 'first'),
    controlPort: 0,
    sidecarPort: 0,
    policyFile,
    environment: process.env,
    // Every cycle copies what it leaves.
    sidecarSettings: { HOLDFAST_BALLAST: '0B' },
    clock: new SystemClock(),
    random: new SystemRandom(),
    logLevel: 'warn',
    onLine: () => undefined,
    onEnd: () => undefined,
  });
  const abandon = undo.add('the daemons of the first run', () => supervisor.abandon());
  try {
    await supervisor.up();
  } finally {
    await supervisor.down();
    abandon();
  }
  const { sidecarDir, appsFile, appTokenFile } = supervisor.files;
  return {
    root,
    template: sidecarDir,
    appsFile,
    token: readSecret(appTokenFile),
    port: await claimPort(0, { flag: 'the campaign' }),
  };
}

/** A copy of the data in `directory`, which must not be there yet. */
export function copySite({ template }: Site, directory: string): void {
  cpSync(template, directory, { recursive: true, errorOnExist: true, force: false });
}
