/** Where `holdfast dev` keeps what. Everything secret is readable by its owner only. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify as toYaml } from 'yaml';
import { sha256Hex } from '../../../shared/platform/digest.ts';
import { readFileIfAny, writeDurableFile } from '../../../shared/platform/durable-file.ts';
import { randomText, type Random } from '../../../shared/platform/random.ts';
import { CommandError, EXIT } from '../failures.ts';

/** Of the kernel's 108 bytes for a socket's path, with room for a temporary name beside it. */
const SOCKET_PATH_BYTES_MAX = 95;

export type DevFiles = {
  readonly dataDir: string;
  readonly controlDir: string;
  readonly sidecarDir: string;
  readonly adminTokenFile: string;
  readonly appTokenFile: string;
  readonly appsFile: string;
  readonly joinTokenFile: string;
  readonly socketPath: string;
};

/** `dataDir` is absolute. */
export function devFiles(dataDir: string): DevFiles {
  const socketPath = join(dataDir, 'sidecar.sock');
  const shortPath = join(tmpdir(), `holdfast-${sha256Hex(dataDir).slice(0, 16)}.sock`);
  return {
    dataDir,
    controlDir: join(dataDir, 'control'),
    sidecarDir: join(dataDir, 'sidecar'),
    adminTokenFile: join(dataDir, 'control', 'admin.token'),
    appTokenFile: join(dataDir, 'app.token'),
    appsFile: join(dataDir, 'apps.yaml'),
    joinTokenFile: join(dataDir, 'join.token'),
    socketPath: Buffer.byteLength(socketPath) <= SOCKET_PATH_BYTES_MAX ? socketPath : shortPath,
  };
}

export function makeDataDir({ dataDir }: DevFiles): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw unusable(dataDir, error);
  }
}

/**
 * Only what `holdfast dev` made is removed: a wrong `--data-dir` must not cost anybody their files.
 */
export function removeData({
  dataDir,
  controlDir,
  sidecarDir,
  appsFile,
  appTokenFile,
  joinTokenFile,
}: DevFiles): void {
  const entries = listDirectory(dataDir);
  if (entries.length > 0 && !entries.includes('dev.json')) {
    throw new CommandError(
      'not_a_data_dir',
      `${dataDir} was not made by holdfast dev, so --fresh does not empty it`,
      {
        exitCode: EXIT.usage,
        hint: 'choose another directory with --data-dir',
      },
    );
  }
  for (const path of [controlDir, sidecarDir, appsFile, appTokenFile, joinTokenFile]) {
    rmSync(path, { recursive: true, force: true });
  }
}

export function listDirectory(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw unusable(path, error);
  }
}

function unusable(path: string, error: unknown): CommandError {
  const { code, message } = error as NodeJS.ErrnoException;
  const why = code === 'EEXIST' || code === 'ENOTDIR' ? 'it is not a directory' : (code ?? message);
  return new CommandError('not_a_data_dir', `cannot keep data in ${path}: ${why}`, {
    exitCode: EXIT.usage,
    hint: 'name a directory that you may write to with --data-dir',
    cause: error,
  });
}

/** The demo app's token, made once, and the file that tells the sidecar about it. */
export function writeAppFiles({ appTokenFile, appsFile }: DevFiles, random: Random): string {
  const token = readFileIfAny(appTokenFile)?.trim() || randomText(random, 32);
  writeDurableFile(appTokenFile, `${token}\n`, { mode: 0o600 });
  const apps = { apps: [{ name: 'demo', token, principals: ['*'], operator: true }] };
  writeDurableFile(appsFile, toYaml(apps), { mode: 0o600 });
  return token;
}

export function readSecret(path: string): string {
  const text = readFileIfAny(path)?.trim() ?? '';
  if (text === '') throw new CommandError('token_unreadable', `${path} is missing or empty`);
  return text;
}
