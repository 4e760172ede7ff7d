/** Both daemons as processes, joined to each other, for one of them to be fuzzed. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claimPort } from '../../../control/cli/dev/free-port.ts';
import { openControl, type ControlClient } from '../../../shared/client/index.ts';
import { ControlProcess, adminTokenIn } from '../../fakes/control-process.ts';
import { pause } from '../../faults/pause.ts';
import { scratchDirectory } from '../../faults/scratch.ts';
import { SidecarProcess } from '../../faults/sidecar/sidecar-process.ts';
import { expectReady } from '../../faults/subject.ts';
import type { Undo } from '../../faults/undo.ts';

export type DaemonName = 'control' | 'sidecar';
export type Heap = { readonly heapUsed: number; readonly rss: number; readonly external: number };

const PRELOAD = new URL('./heap-preload.ts', import.meta.url).href;
export const POLICY_TEXT = readFileSync(new URL('./fuzz-policy.yaml', import.meta.url), 'utf8');
const HOST = 'fuzz-host';
const TOKEN = 'fuzz-app-token-0123456789';
const HEAP_BOUND_MS = 20_000;
const POLL_MS = 20;

export class ApiSite {
  readonly root: string;
  readonly appToken = TOKEN;
  readonly #undo: Undo;
  readonly #ports: Readonly<Record<DaemonName, number>>;
  #control: ControlProcess | null = null;
  #sidecar: SidecarProcess | null = null;

  private constructor(root: string, undo: Undo, ports: Readonly<Record<DaemonName, number>>) {
    this.root = root;
    this.#undo = undo;
    this.#ports = ports;
  }

  static async make(undo: Undo): Promise<ApiSite> {
    const { root } = scratchDirectory(undo, 'fuzz');
    const claim = (): Promise<number> => claimPort(0, { flag: 'the fuzzer' });
    const site = new ApiSite(root, undo, { control: await claim(), sidecar: await claim() });
    await site.startControl();
    const control = site.controlClient();
    await control.publishPolicy(POLICY_TEXT, { format: 'yaml', replaces: null });
    const { joinToken } = await control.createJoinToken({ hostName: HOST });
    await control.close();
    writeFileSync(join(root, 'join'), joinToken, { mode: 0o600 });
    const apps = [{ name: 'fuzz', token: TOKEN, principals: ['*'], operator: true }];
    writeFileSync(join(root, 'apps.json'), JSON.stringify({ apps }), { mode: 0o600 });
    mkdirSync(join(root, 'sidecar'));
    await site.startSidecar();
    return site;
  }

  get adminToken(): string {
    return adminTokenIn(join(this.root, 'control'));
  }

  get journalPath(): string {
    return join(this.root, 'sidecar/journal/journal.db');
  }

  get sidecar(): SidecarProcess {
    if (this.#sidecar === null) throw new Error('the sidecar was not started');
    return this.#sidecar;
  }

  portOf(name: DaemonName): number {
    return this.#ports[name];
  }

  urlOf(name: DaemonName): string {
    return `http://127.0.0.1:${this.#ports[name]}`;
  }

  controlClient(): ControlClient {
    return openControl({ endpoint: this.urlOf('control'), token: this.adminToken });
  }

  async startControl(): Promise<void> {
    const args = [
      '--data-dir',
      join(this.root, 'control'),
      '--listen',
      `127.0.0.1:${this.#ports.control}`,
    ];
    // After a host has claimed to know more than control, nothing is published for a term.
    const settings = ['--log-level', 'error', '--lease-ttl', '5s'];
    const control = new ControlProcess([...args, ...settings], this.#watched('control'));
    this.#undo.add('control', () => void control.kill('SIGKILL'));
    this.#control = control;
    await this.#untilLive('control');
  }

  async startSidecar(): Promise<void> {
    const { root } = this;
    const at = {
      root,
      template: '',
      appsFile: join(root, 'apps.json'),
      token: TOKEN,
      port: this.#ports.sidecar,
    };
    this.#sidecar = new SidecarProcess(at, this.#undo, {
      dataDir: join(root, 'sidecar'),
      joinTokenFile: join(root, 'join'),
      env: {
        HOLDFAST_CONTROL_URL: this.urlOf('control'),
        HOLDFAST_HOST_NAME: HOST,
        HOLDFAST_SYNC_INTERVAL: '1s',
        ...this.#watched('sidecar'),
      },
    });
    await expectReady(this.#sidecar);
  }

  #watched(name: DaemonName): Record<string, string> {
    return { NODE_OPTIONS: `--import=${PRELOAD}`, FUZZ_HEAP_FILE: this.#heapFile(name) };
  }

  #heapFile(name: DaemonName): string {
    return join(this.root, `${name}.heap`);
  }

  /** What it needs once all garbage is collected. */
  async heapOf(name: DaemonName): Promise<Heap> {
    const path = this.#heapFile(name);
    rmSync(path, { force: true });
    const pid = name === 'control' ? this.#control?.pid : this.#sidecar?.pid;
    if (pid === undefined) throw new Error(`${name} was not started`);
    process.kill(pid, 'SIGWINCH');
    const startedMs = performance.now();
    for (;;) {
      try {
        return JSON.parse(readFileSync(path, 'utf8')) as Heap;
      } catch {
        if (performance.now() - startedMs > HEAP_BOUND_MS)
          throw new Error(`${name} did not say what memory it needs`);
        await pause(POLL_MS);
      }
    }
  }

  /** The newest of what control logged as an error: what a client is not told. */
  controlErrors(): string {
    const errors = this.#control?.lines.filter(({ level }) => level === 'error') ?? [];
    return JSON.stringify(errors.slice(-3)).slice(0, 2_000);
  }

  /** How it ended, where it has. */
  async endOf(name: DaemonName): Promise<string | null> {
    const now = Promise.resolve(null);
    if (name === 'sidecar') {
      const ended = await Promise.race([this.sidecar.ended, now]);
      return ended === null ? null : `${ended.signal ?? `code ${ended.code}`}: ${ended.said}`;
    }
    const exit = await Promise.race([this.#control?.exited ?? now, now]);
    return exit === null ? null : `${exit.signal ?? `code ${exit.code}`}: ${exit.stderr}`;
  }

  async kill(name: DaemonName): Promise<void> {
    if (name === 'sidecar') await this.sidecar.close();
    else await this.#control?.kill('SIGKILL');
  }

  async restart(name: DaemonName): Promise<void> {
    await this.kill(name);
    await (name === 'sidecar' ? this.startSidecar() : this.startControl());
  }

  async close(): Promise<void> {
    await this.kill('sidecar');
    await this.kill('control');
  }

  async #untilLive(name: DaemonName): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      const isLive = await fetch(`${this.urlOf(name)}/livez`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (isLive) return;
      const end = await this.endOf(name);
      if (end !== null || performance.now() - startedMs > HEAP_BOUND_MS)
        throw new Error(`${name} does not start: ${end ?? 'no answer'}`);
      await pause(POLL_MS);
    }
  }
}
