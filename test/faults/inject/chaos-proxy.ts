/**
 * A wire between one sidecar and control that can be made bad in each way that a network can: cut one way
 * or both ways while connections stay open and nobody is told, slow, jittery, narrow, broken off in the
 * middle of an answer, half-open, or with other bytes than were sent. What comes through keeps its order.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export type Wire = {
  /** What the sidecar sends comes through. */
  readonly up: boolean;
  /** What control answers comes through. */
  readonly down: boolean;
  readonly answersLateMs: number;
  /** Both ways, each piece by itself: `latencyMs` and up to `jitterMs` more. */
  readonly latencyMs: number;
  readonly jitterMs: number;
  /** Both ways; `null`: as many as there are. */
  readonly bytesPerSecond: number | null;
  /** A connection is reset once so many bytes of answers have come through; `null`: never. */
  readonly resetAfterBytes: number | null;
  /** Control's end is closed at once, and the sidecar's is not told. */
  readonly isHalfOpen: boolean;
  /** Of the pieces of answers, so many come as other bytes. */
  readonly garbageShare: number;
};

export const WHOLE: Wire = {
  up: true,
  down: true,
  answersLateMs: 0,
  latencyMs: 0,
  jitterMs: 0,
  bytesPerSecond: null,
  resetAfterBytes: null,
  isHalfOpen: false,
  garbageShare: 0,
};

/** How often each was done to bytes or connections, for the account of a run. */
export type Disturbed = {
  droppedUp: number;
  droppedDown: number;
  delayed: number;
  throttled: number;
  reset: number;
  halfOpened: number;
  garbled: number;
};

type Chance = { readonly unit: () => number; readonly bytes: (size: number) => Uint8Array };

type Pair = { readonly near: Socket; readonly far: Socket; isHalfOpen: boolean };

const PIECE_BYTES = 512;

export class ChaosProxy {
  readonly disturbed: Disturbed = {
    droppedUp: 0,
    droppedDown: 0,
    delayed: 0,
    throttled: 0,
    reset: 0,
    halfOpened: 0,
    garbled: 0,
  };
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #controlPort: number;
  readonly #chance: Chance | null;
  #wire: Wire = WHOLE;

  /** `chance` is asked where a wire has jitter or garbage. */
  constructor(controlPort: number, chance: Chance | null = null) {
    this.#controlPort = controlPort;
    this.#chance = chance;
    this.#server = createServer((near) => this.#join(near));
  }

  /** How often it has disturbed anything. */
  get times(): number {
    return Object.values(this.disturbed).reduce((sum, times) => sum + times, 0);
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
    if (this.#wire.isHalfOpen) for (const pair of this.#pairs) this.#halfOpen(pair);
  }

  /** As it was, over new connections: the old ones have lost bytes. */
  heal(): void {
    this.#wire = WHOLE;
    for (const { near } of this.#pairs) near.destroy();
  }

  close(): void {
    this.heal();
    this.#server.close();
  }

  #join(near: Socket): void {
    const far = connect(this.#controlPort, '127.0.0.1');
    const pair: Pair = { near, far, isHalfOpen: false };
    this.#pairs.add(pair);
    const ways = { up: new Way(near, far), down: new Way(far, near) };
    for (const socket of [near, far]) socket.on('error', () => undefined);
    near.once('close', () => {
      this.#pairs.delete(pair);
      ways.up.whenIdle(() => far.destroy());
    });
    far.once('close', () => {
      if (!pair.isHalfOpen) ways.down.whenIdle(() => near.destroy());
    });
    if (this.#wire.isHalfOpen) this.#halfOpen(pair);
    let answered = 0;
    near.on('data', (bytes: Buffer) => {
      if (!this.#wire.up || far.destroyed) this.disturbed.droppedUp += 1;
      else this.#pass(ways.up, bytes, 0);
    });
    far.on('data', (bytes: Buffer) => {
      const { down, resetAfterBytes, answersLateMs } = this.#wire;
      if (!down) {
        this.disturbed.droppedDown += 1;
        return;
      }
      answered += bytes.length;
      if (resetAfterBytes !== null && answered > resetAfterBytes) {
        this.disturbed.reset += 1;
        const left = Math.max(0, bytes.length - (answered - resetAfterBytes));
        near.write(bytes.subarray(0, left), () => near.resetAndDestroy());
        return;
      }
      this.#pass(ways.down, this.#garbled(bytes), answersLateMs);
    });
  }

  #halfOpen(pair: Pair): void {
    if (pair.isHalfOpen) return;
    pair.isHalfOpen = true;
    this.disturbed.halfOpened += 1;
    pair.far.destroy();
  }

  #garbled(bytes: Buffer): Buffer {
    if (this.#chance === null || this.#chance.unit() >= this.#wire.garbageShare) return bytes;
    this.disturbed.garbled += 1;
    return Buffer.from(this.#chance.bytes(bytes.length));
  }

  #pass(way: Way, bytes: Buffer, lateMs: number): void {
    const { latencyMs, jitterMs, bytesPerSecond } = this.#wire;
    const jitter = jitterMs === 0 ? 0 : (this.#chance?.unit() ?? 0) * jitterMs;
    const delayMs = lateMs + latencyMs + jitter;
    if (delayMs > 0) this.disturbed.delayed += 1;
    if (bytesPerSecond !== null) this.disturbed.throttled += 1;
    way.send(bytes, { delayMs, bytesPerSecond });
  }
}

/** One way of one connection: what is sent later does not come earlier. */
class Way {
  readonly #from: Socket;
  readonly #to: Socket;
  /** When the last piece that is on its way comes. */
  #freeMs = 0;
  #waiting = 0;
  #onIdle: (() => void) | null = null;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
  }

  /** Once what is on its way has come: its sender has gone, and what it sent has not. */
  whenIdle(then: () => void): void {
    if (this.#waiting === 0) then();
    else this.#onIdle = then;
  }

  send(bytes: Buffer, pace: { delayMs: number; bytesPerSecond: number | null }): void {
    const { delayMs, bytesPerSecond } = pace;
    if (delayMs === 0 && bytesPerSecond === null && this.#waiting === 0) {
      this.#to.write(bytes);
      return;
    }
    const size = bytesPerSecond === null ? bytes.length : PIECE_BYTES;
    for (let at = 0; at < bytes.length; at += size) {
      const piece = bytes.subarray(at, at + size);
      const takesMs = bytesPerSecond === null ? 0 : (piece.length / bytesPerSecond) * 1_000;
      const nowMs = performance.now();
      this.#freeMs = Math.max(this.#freeMs, nowMs + delayMs) + takesMs;
      this.#waiting += 1;
      // A sender that is faster than the wire is held up, as by a window that is full.
      if (bytesPerSecond !== null) this.#from.pause();
      setTimeout(() => {
        this.#waiting -= 1;
        if (!this.#to.destroyed) this.#to.write(piece);
        if (this.#waiting > 0) return;
        this.#from.resume();
        if (this.#onIdle !== null) this.#to.end(this.#onIdle);
      }, this.#freeMs - nowMs);
    }
  }
}
