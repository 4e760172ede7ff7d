import { createServer, type AddressInfo } from 'node:net';
import { CommandError, EXIT } from '../failures.ts';

const LOOPBACK = '127.0.0.1';

/**
 * The port itself where it is free, and any free one for 0. It is chosen here rather than by the
 * daemon, so that a daemon that is killed comes back at the address that the others know.
 */
export async function claimPort(port: number, options: { readonly flag: string }): Promise<number> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once('error', (error: NodeJS.ErrnoException) =>
    reject(portError(error, port, options.flag)),
  );
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
