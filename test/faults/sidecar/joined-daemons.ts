/**
 * A real control and a real sidecar that has joined it, as processes on ports that stay theirs, so that
 * either can be killed and comes back where the other looks for it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claimPort } from '../../../control/cli/dev/free-port.ts';
import { openControl, type ControlClient } from '../../../shared/client/index.ts';
import { ControlProcess, adminTokenIn } from '../../fakes/control-process.ts';
import { pause } from '../pause.ts';
import { scratchDirectory } from '../scratch.ts';
import { expectReady } from '../subject.ts';
import type { Undo } from '../undo.ts';
import { SidecarProcess } from './sidecar-process.ts';

export type DaemonName = 'control' | 'sidecar';

export type JoinedOptions = {
  /** Of the directory, the host and the app. */
  readonly kind: string;
  /** Published before the sidecar starts. */
  readonly policy: string;
  readonly controlSettings?: readonly string[];
  readonly sidecarSettings: Readonly<Record<string, string>>;
  /** Of either, besides: for a daemon that is looked into. */
  readonly environment?: (name: DaemonName, root: string) => Readonly<Record<string, string>>;
  /** Where the sidecar finds control, given where control is: a wire may be in between. */
  readonly wire?: (controlPort: number) => Promise<string>;
};

const START_BOUND_MS = 20_000;
const POLL_MS = 20;

export class JoinedDaemons {
  readonly root: string;
  readonly appToken: string;
  readonly #undo: Undo;
  readonly #options: JoinedOptions;
  readonly #ports: Readonly<Record<DaemonName, number>>;
  #controlUrl: string;
  #control: ControlProcess | null = null;
  #sidecar: SidecarProcess | null = null;

  private constructor(
    undo: Undo,
    options: JoinedOptions,
    at: { readonly root: string; readonly ports: Readonly<Record<DaemonName, number>> },
  ) {
    this.root = at.root;
    this.#undo = undo;
    this.#options = options;
    this.#ports = at.ports;
    this.appToken = `${options.kind}-app-token-0123456789`;
    this.#controlUrl = this.urlOf('control');
  }

  static async start(undo: Undo, options: JoinedOptions): Promise<JoinedDaemons> {
    const { kind, policy, wire } = options;
    const { root } = scratchDirectory(undo, kind);
    const claim = (): Promise<number> => claimPort(0, { flag: 'the campaign' });
    const ports = { control: await claim(), sidecar: await claim() };
    const daemons = new JoinedDaemons(undo, options, { root, ports });
    if (wire !== undefined) daemons.#controlUrl = await wire(ports.control);
    await daemons.start('control');
    const control = daemons.controlClient();
    await control.publishPolicy(policy, { format: 'yaml', replaces: null });
    const { joinToken } = await control.createJoinToken({ hostName: daemons.#hostName });
    await control.close();
    writeFileSync(join(root, 'join'), joinToken, { mode: 0o600 });
    const apps = [{ name: kind, token: daemons.appToken, principals: ['*'], operator: true }];
    writeFileSync(join(root, 'apps.json'), JSON.stringify({ apps }), { mode: 0o600 });
    mkdirSync(join(root, 'sidecar'));
    await daemons.start('sidecar');
    return daemons;
  }

  get sidecar(): SidecarProcess {
    if (this.#sidecar === null) throw new Error('the sidecar was not started');
    return this.#sidecar;
  }

  get control(): ControlProcess {
    if (this.#control === null) throw new Error('control was not started');
    return this.#control;
  }

  get adminToken(): string {
    return adminTokenIn(join(this.root, 'control'));
  }

  get journalPath(): string {
    return join(this.root, 'sidecar/journal/journal.db');
  }

  portOf(name: DaemonName): number {
    return this.#ports[name];
  }

  urlOf(name: DaemonName): string {
    return `http://127.0.0.1:${this.#ports[name]}`;
  }

  /** Past any wire. */
  controlClient(): ControlClient {
    return openControl({ endpoint: this.urlOf('control'), token: this.adminToken });
  }

  /** On the data that it left, once it was killed. */
  start(name: DaemonName): Promise<void> {
    return name === 'control' ? this.#startControl() : this.#startSidecar();
  }

  async kill(name: DaemonName): Promise<void> {
    await (name === 'control' ? this.#control?.kill('SIGKILL') : this.sidecar.kill());
  }

  /** Kills what still runs, and lets go of the connections. */
  async close(name: DaemonName): Promise<void> {
    if (name === 'control') await this.kill(name);
    else await this.sidecar.close();
  }

  async restart(name: DaemonName): Promise<void> {
    await this.close(name);
    await this.start(name);
  }

  /** How it ended, where it has. */
  async endOf(name: DaemonName): Promise<string | null> {
    const now = Promise.resolve(null);
    if (name === 'sidecar') {
      const ended = await Promise.race([this.sidecar.ended, now]);
      return ended === null ? null : `${ended.signal ?? `code ${ended.code}`}: ${ended.said}`;
    }
    const exit = await Promise.race([this.control.exited, now]);
    return exit === null ? null : `${exit.signal ?? `code ${exit.code}`}: ${exit.stderr}`;
  }

  async #startControl(): Promise<void> {
    const { controlSettings = [], environment } = this.#options;
    const listen = `127.0.0.1:${this.#ports.control}`;
    const at = ['--data-dir', join(this.root, 'control'), '--listen', listen];
    const control = new ControlProcess(
      [...at, '--lease-ttl', '5s', ...controlSettings],
      environment?.('control', this.root),
    );
    this.#undo.add('control', () => void control.kill('SIGKILL'));
    this.#control = control;
    await this.#untilControlLives();
  }

  async #startSidecar(): Promise<void> {
    const { root } = this;
    const { sidecarSettings, environment } = this.#options;
    const at = {
      root,
      template: '',
      appsFile: join(root, 'apps.json'),
      token: this.appToken,
      port: this.#ports.sidecar,
    };
    this.#sidecar = new SidecarProcess(at, this.#undo, {
      dataDir: join(root, 'sidecar'),
      joinTokenFile: join(root, 'join'),
      env: {
        HOLDFAST_CONTROL_URL: this.#controlUrl,
        HOLDFAST_HOST_NAME: this.#hostName,
        ...sidecarSettings,
        ...environment?.('sidecar', root),
      },
    });
    await expectReady(this.#sidecar);
  }

  get #hostName(): string {
    return `${this.#options.kind}-host`;
  }

  /** Asked, and not read from its log, which may be told to say nothing. */
  async #untilControlLives(): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      const isLive = await fetch(`${this.urlOf('control')}/livez`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (isLive) return;
      const end = await this.endOf('control');
      if (end !== null || performance.now() - startedMs > START_BOUND_MS)
        throw new Error(`control does not start: ${end ?? 'no answer'}`);
      await pause(POLL_MS);
    }
  }
}
