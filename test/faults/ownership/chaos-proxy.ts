/**
 * A wire between one sidecar and control that can be cut one way or both ways, or made slow, while
 * connections stay open: nobody is told.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export type Wire = {
  /** What the sidecar sends comes through. */
  readonly up: boolean;
  /** What control answers comes through. */
  readonly down: boolean;
  readonly answersLateMs: number;
};

export const WHOLE: Wire = { up: true, down: true, answersLateMs: 0 };

export class ChaosProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #controlPort: number;
  #wire: Wire = WHOLE;

  constructor(controlPort: number) {
    this.#controlPort = controlPort;
    this.#server = createServer((near) => this.#join(near));
  }

  /** Its URL. */
  async listen(address = '127.0.0.1'): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.listen(0, address, () => resolve());
    await promise;
    return `http://${address}:${(this.#server.address() as AddressInfo).port}`;
  }

  set(wire: Partial<Wire>): void {
    this.#wire = { ...WHOLE, ...wire };
  }

  /** As it was, over new connections: the old ones have lost bytes. */
  heal(): void {
    this.#wire = WHOLE;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.heal();
    this.#server.close();
  }

  #join(near: Socket): void {
    const far = connect(this.#controlPort, '127.0.0.1');
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (bytes) => {
      if (this.#wire.up) far.write(bytes);
    });
    far.on('data', (bytes) => {
      if (!this.#wire.down) return;
      const { answersLateMs } = this.#wire;
      if (answersLateMs === 0) near.write(bytes);
      else setTimeout(() => near.write(bytes), answersLateMs);
    });
  }
}
