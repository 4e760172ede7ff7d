/** Control and one sidecar as real processes on free ports, for a test that plays with them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Supervisor } from '../../control/cli/dev/supervisor.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';

export type DevDaemons = { readonly supervisor: Supervisor; close(): Promise<void> };

export async function startDevDaemons(
  sidecarSettings: Readonly<Record<string, string>> = {},
  policy?: object,
): Promise<DevDaemons> {
  const dataDir = mkdtempSync(join(tmpdir(), 'daemons-'));
  const policyFile = join(dataDir, 'policy.json');
  if (policy !== undefined) writeFileSync(policyFile, JSON.stringify(policy));
  const supervisor = await Supervisor.open({
    dataDir,
    controlPort: 0,
    sidecarPort: 0,
    environment: process.env,
    sidecarSettings,
    clock: new SystemClock(),
    random: new SystemRandom(),
    logLevel: 'warn',
    onLine: () => undefined,
    onEnd: () => undefined,
    ...(policy === undefined ? {} : { policyFile }),
  });
  const close = async (): Promise<void> => {
    await supervisor.down();
    rmSync(dataDir, { recursive: true });
  };
  try {
    await supervisor.up();
  } catch (error) {
    await close();
    throw error;
  }
  return { supervisor, close };
}
