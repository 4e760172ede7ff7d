/**
 * Listens in control's place and is of no use: `silent` answers nothing, `broken` answers 500. Stopped
 * by a signal before anybody is accepted, it is a black hole: with its short queue full the kernel
 * drops whoever comes.
 */
import { createServer } from 'node:http';

const [, , mode, port] = process.argv;
/** Node takes no 0; the kernel lets one more wait than it is told. */
const BACKLOG = mode === 'black-hole' ? 1 : 511;

const server = createServer((_request, response) => {
  if (mode !== 'broken') return;
  response.writeHead(500, { 'content-type': 'text/plain' }).end('broken');
});
server.listen({ port: Number(port), host: '127.0.0.1', backlog: BACKLOG }, () =>
  process.stdout.write('listening\n'),
);
process.stdin.on('end', () => process.exit(0)).resume();
