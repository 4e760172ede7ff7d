/** A real PostgreSQL of its own, on a Unix socket in a directory that goes with it. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export type PostgresServer = {
  /** For `new Client(...)`. */
  readonly connection: { readonly host: string; readonly user: string; readonly database: string };
  stop(): Promise<void>;
};

const USER = 'postgres';

/** As root it runs as `postgres`, whom the package makes: it refuses to be root. */
export async function startPostgres(postgres: string): Promise<PostgresServer> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-pg-'));
  const data = join(root, 'data');
  const isRoot = process.getuid?.() === 0;
  const identity = isRoot ? { uid: idOf('-u'), gid: idOf('-g') } : {};
  if (identity.uid !== undefined) chownSync(root, identity.uid, identity.gid);
  chmodSync(root, 0o755);
  const initdb = spawnSync(
    join(dirname(postgres), 'initdb'),
    ['-D', data, '-U', USER, '-A', 'trust', '--no-sync'],
    { ...identity, cwd: root, encoding: 'utf8' },
  );
  if (initdb.status !== 0) throw new Error(initdb.stderr || String(initdb.error));
  const args = ['-D', data, '-k', root, '-c', 'listen_addresses=', '-c', 'fsync=off'];
  const server = spawn(postgres, args, {
    ...identity,
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  let said = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
    if (said.includes('ready to accept connections')) resolve();
  });
  const ended = new Promise<void>((done) => {
    server.once('close', () => {
      reject(new Error(said));
      done();
    });
  });
  await ready;
  return {
    connection: { host: root, user: USER, database: USER },
    async stop() {
      server.kill('SIGINT');
      await ended;
      rmSync(root, { recursive: true });
    },
  };
}

function idOf(which: '-u' | '-g'): number {
  const { status, stdout } = spawnSync('id', [which, USER], { encoding: 'utf8' });
  if (status !== 0)
    throw new Error(`there is no user ${USER}, and postgres refuses to run as root`);
  return Number(stdout);
}
