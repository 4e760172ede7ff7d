/** Control as it may be lost, at its own address: killed, a black hole, silent, or broken. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pause, type HostUnderLoad } from './host-under-load.ts';

export const CONTROL_STATES = ['up', 'killed', 'black-holed', 'hanging', 'answering 500'] as const;
export type ControlState = (typeof CONTROL_STATES)[number];

const STAND_IN = fileURLToPath(new URL('./stand-in-control.ts', import.meta.url));
const MODES: Readonly<Partial<Record<ControlState, string>>> = {
  'black-holed': 'black-hole',
  hanging: 'silent',
  'answering 500': 'broken',
};
const POLL_MS = 100;
/** A connection that is not made by then is not made. */
const CONNECT_MS = 400;
const FILLERS_MAX = 16;

export class ControlLoss {
  readonly #host: HostUnderLoad;
  #standIn: ChildProcess | null = null;
  #fillers: Socket[] = [];

  constructor(host: HostUnderLoad) {
    this.#host = host;
  }

  /** Resolves when the sidecar has found it out, and, where control is back, has told it all. */
  async become(state: ControlState): Promise<void> {
    const { supervisor } = this.#host;
    await this.#removeStandIn();
    if (state === 'up') await supervisor.start('control');
    else await supervisor.kill('control');
    const mode = MODES[state];
    if (mode !== undefined) await this.#standInAs(mode);
    const sidecar = supervisor.openSidecarClient();
    try {
      for (;;) {
        const { control, journal } = await sidecar.status();
        const isDone =
          state === 'up'
            ? control.state === 'connected' && journal.ackedSeq >= journal.seq
            : control.state === 'disconnected';
        if (isDone) return;
        await pause(POLL_MS);
      }
    } finally {
      await sidecar.close();
    }
  }

  async dispose(): Promise<void> {
    await this.#removeStandIn();
  }

  async #standInAs(mode: string): Promise<void> {
    const { port } = new URL(this.#host.supervisor.url('control'));
    const child = spawn(process.execPath, [STAND_IN, mode, port], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#standIn = child;
    await once(createInterface({ input: child.stdout }), 'line');
    if (mode !== 'black-hole') return;
    child.kill('SIGSTOP');
    for (let at = 0; at < FILLERS_MAX; at += 1) if (!(await this.#fill(Number(port)))) return;
    throw new Error('the queue of a listener that accepts nothing does not get full');
  }

  /** Whether there was still a place in the queue. */
  async #fill(port: number): Promise<boolean> {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    const made = once(socket, 'connect').then(
      () => true,
      () => false,
    );
    const isMade = await Promise.race([made, pause(CONNECT_MS).then(() => false)]);
    if (isMade) this.#fillers.push(socket);
    else socket.destroy();
    return isMade;
  }

  async #removeStandIn(): Promise<void> {
    for (const socket of this.#fillers.splice(0)) socket.destroy();
    const child = this.#standIn;
    this.#standIn = null;
    if (child === null || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}
