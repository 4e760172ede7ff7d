import { createServer, type AddressInfo } from 'node:net';
import { SystemRandom } from '../../../shared/platform/random.ts';
import { CommandError, EXIT } from '../failures.ts';

const LOOPBACK = '127.0.0.1';

/** Below those that systems give to whoever connects or asks for any: there one is soon taken again. */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;
const TRIES_MAX = 20;

/**
 * The port itself where it is free, and any free one for 0. It is chosen here rather than by the
 * daemon, so that a daemon that is killed comes back at the address that the others know.
 */
export async function claimPort(port: number, options: { readonly flag: string }): Promise<number> {
  const random = new SystemRandom();
  const candidates = Array.from({ length: port === 0 ? TRIES_MAX : 0 }, () =>
    Math.floor(FIRST_PORT + random.unit() * (LAST_PORT - FIRST_PORT)),
  );
  for (const candidate of candidates) {
    const found = await tryPort(candidate).catch(() => null);
    if (found !== null) return found;
  }
  return tryPort(port).catch((error: NodeJS.ErrnoException) => {
    throw portError(error, port, options.flag);
  });
}

async function tryPort(port: number): Promise<number> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once('error', reject);
  server.listen({ host: LOOPBACK, port, exclusive: true }, () =>
    resolve((server.address() as AddressInfo).port),
  );
  try {
    return await promise;
  } finally {
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    await closed.promise;
  }
}

function portError(error: NodeJS.ErrnoException, port: number, flag: string): CommandError {
  const isTaken = error.code === 'EADDRINUSE';
  const detail = isTaken
    ? `port ${port} is in use by another program`
    : `port ${port} cannot be used: ${error.code ?? error.message}`;
  return new CommandError(isTaken ? 'port_in_use' : 'port_unusable', detail, {
    exitCode: EXIT.failure,
    hint: `stop that program, or choose another port with ${flag} (0 takes any free one)`,
    cause: error,
  });
}
