/** Opens the API on TCP, on a Unix socket, or on both. */
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import type { App } from '../../shared/platform/http/app.ts';
import { StartError } from '../../shared/platform/shutdown.ts';

export type Listeners = { readonly apps: readonly App[]; readonly address: string | null };

export type ListenOptions = {
  readonly build: (transport: 'tcp' | 'unix') => Promise<App>;
  readonly listen: { readonly host: string; readonly port: number } | null;
  readonly socketPath: string | undefined;
};

export async function openListeners({
  build,
  listen,
  socketPath,
}: ListenOptions): Promise<Listeners> {
  const apps: App[] = [];
  let address: string | null = null;
  try {
    if (listen !== null) {
      const app = await build('tcp');
      apps.push(app);
      address = await app.listen(listen);
    }
    if (socketPath !== undefined) {
      const app = await build('unix');
      apps.push(app);
      await listenOnSocket(app, socketPath);
    }
    return { apps, address };
  } catch (error) {
    await closeListeners({ apps, address });
    throw error;
  }
}

export async function closeListeners({ apps }: Listeners): Promise<void> {
  await Promise.all(apps.map((app) => app.close()));
}

/**
 * The socket is for the owner and the group; one that a dead process left behind is removed,
 * nothing else is.
 */
async function listenOnSocket(app: App, path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  await removeStaleSocket(path);
  await app.listen({ path });
  chmodSync(path, 0o660);
}

async function removeStaleSocket(path: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = lstatSync(path).isSocket();
  } catch {
    return;
  }
  if (!isSocket)
    throw new StartError(
      `${path} exists and is not a socket: remove it, or choose another with --socket-path`,
    );
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (answered)
    throw new StartError(
      `another program answers on ${path}: stop it, or choose another with --socket-path`,
    );
  unlinkSync(path);
}
