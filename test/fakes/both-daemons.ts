/** Control and one sidecar in this process, over real sockets and real time. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveControlConfig } from '../../control/config.ts';
import { buildControl, type Control } from '../../control/daemon.ts';
import { openSigningKeys } from '../../control/signing-keys.ts';
import { openFloorFile } from '../../control/store/floor-file.ts';
import { openSqliteControlStore } from '../../control/store/sqlite-control-store.ts';
import { SidecarConfigSchema, type SidecarConfig } from '../../dataplane/config.ts';
import { startSidecar, type Sidecar } from '../../dataplane/daemon.ts';
import { readDiskSpace } from '../../dataplane/journal/disk-space.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { ControlClient, SidecarClient } from '../../shared/client/index.ts';
import { UndiciTransport } from '../../shared/client/transport.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { loadConfiguration } from '../../shared/platform/configuration.ts';
import { makeDirectory } from '../../shared/platform/durable-file.ts';
import { HttpProbeCaller } from '../../shared/platform/http-probe.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import { STANDARD } from './control-world.ts';

export type Line = Readonly<Record<string, unknown>>;

export type BothDaemons = {
  readonly controlUrl: string;
  readonly control: ControlClient;
  readonly adminToken: string;
  readonly app: SidecarClient;
  readonly logged: Line[];
  close(): Promise<void>;
};

export async function startBothDaemons(policy: object): Promise<BothDaemons> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-both-'));
  const clock = new SystemClock();
  const random = new SystemRandom();
  const logged: Line[] = [];
  const destination = { write: (line: string) => void logged.push(JSON.parse(line) as Line) };
  const logger = (name: string) => createLogger({ name, level: 'debug', destination });
  let adminToken = '';
  const opened = await openControlIn(join(directory, 'control'), {
    clock,
    random,
    logger: logger('control'),
    keepAdminToken: (token) => {
      adminToken = token;
    },
  });
  const controlUrl = await opened.listen();
  const control = new ControlClient({
    transport: new UndiciTransport({ url: controlUrl }),
    token: () => adminToken,
    timeoutMs: 5_000,
  });
  await control.publishPolicy(JSON.stringify(policy), { format: 'json', replaces: null });
  const { joinToken } = await control.createJoinToken({ hostName: 'host-1' });
  const sidecar = await startSidecar({
    config: sidecarConfig(join(directory, 'sidecar'), controlUrl),
    hostName: 'host-1',
    joinToken,
    clock,
    random,
    logger: logger('sidecar'),
    transport: new UndiciTransport({ url: controlUrl }),
    compile: compileCel,
    readDiskSpace,
    openJournal,
    probe: new HttpProbeCaller(),
    openTransport: (url) => new UndiciTransport({ url }),
  });
  sidecar.done.catch(() => undefined);
  const app = new SidecarClient({
    transport: new UndiciTransport({ url: sidecar.address ?? '' }),
    clock,
    random,
    token: () => null,
    timeoutMs: 5_000,
  });
  return {
    controlUrl,
    control,
    adminToken,
    app,
    logged,
    async close() {
      await Promise.all([app.close(), control.close()]);
      await stopBoth(sidecar, opened);
      rmSync(directory, { recursive: true });
    },
  };
}

async function stopBoth(sidecar: Sidecar, control: Control): Promise<void> {
  await sidecar.stop();
  await control.stop();
}

type ControlParts = Pick<
  Parameters<typeof buildControl>[0],
  'clock' | 'random' | 'logger' | 'keepAdminToken'
>;

async function openControlIn(dataDir: string, parts: ControlParts): Promise<Control> {
  makeDirectory(dataDir);
  const keys = await openSigningKeys(dataDir);
  return buildControl({
    ...parts,
    config: resolveControlConfig({ ...STANDARD, dataDir }),
    store: openSqliteControlStore(join(dataDir, 'control.db')),
    floors: openFloorFile(dataDir),
    keys,
    version: '0.0.0-test',
  });
}

function sidecarConfig(dataDir: string, controlUrl: string): SidecarConfig {
  const argv = ['--data-dir', dataDir, '--control-url', controlUrl, '--listen', '127.0.0.1:0'];
  const loaded = loadConfiguration(SidecarConfigSchema, {
    program: 'test',
    argv: [...argv, '--app-auth', 'off', '--ballast', '0B', '--sync-interval', '500ms'],
    env: {},
  });
  if (loaded.kind !== 'run') throw new Error(loaded.text);
  makeDirectory(dataDir);
  return loaded.config;
}
