/** A real control and a real sidecar on fixed ports, with a wire between them that can be made bad. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claimPort } from '../../../control/cli/dev/free-port.ts';
import { openControl, type ControlClient } from '../../../shared/client/index.ts';
import { ControlProcess, adminTokenIn } from '../../fakes/control-process.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import { ChaosProxy } from '../inject/chaos-proxy.ts';
import { scratchDirectory } from '../scratch.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { expectReady } from '../subject.ts';
import type { Undo } from '../undo.ts';

const HOST = 'host-n';
const TOKEN = 'network-campaign-token';
const POLICY = readFileSync(new URL('../sidecar/campaign-policy.yaml', import.meta.url), 'utf8');
const REQUEST_TIMEOUT = '1s';
const SYNC_INTERVAL = '500ms';

export class NetworkSite {
  readonly root: string;
  readonly proxy: ChaosProxy;
  readonly #undo: Undo;
  readonly #ports: { readonly control: number; readonly sidecar: number };
  #url = '';
  #control: ControlProcess | null = null;
  #sidecar: SidecarProcess | null = null;

  private constructor(
    root: string,
    undo: Undo,
    parts: { proxy: ChaosProxy; ports: { control: number; sidecar: number } },
  ) {
    this.root = root;
    this.#undo = undo;
    this.proxy = parts.proxy;
    this.#ports = parts.ports;
  }

  static async make(undo: Undo, random: FakeRandom): Promise<NetworkSite> {
    const { root } = scratchDirectory(undo, 'network');
    const claim = (): Promise<number> => claimPort(0, { flag: 'the campaign' });
    const ports = { control: await claim(), sidecar: await claim() };
    const proxy = new ChaosProxy(ports.control, random);
    undo.add('the wire', () => proxy.close());
    const site = new NetworkSite(root, undo, { proxy, ports });
    site.#url = await proxy.listen();
    await site.startControl();
    const control = site.controlClient();
    await control.publishPolicy(POLICY, { format: 'yaml', replaces: null });
    const { joinToken } = await control.createJoinToken({ hostName: HOST });
    await control.close();
    writeFileSync(join(root, 'join'), joinToken, { mode: 0o600 });
    const apps = [{ name: 'worker', token: TOKEN, principals: ['*'], operator: true }];
    writeFileSync(join(root, 'apps.json'), JSON.stringify({ apps }), { mode: 0o600 });
    mkdirSync(join(root, 'sidecar'));
    await site.startSidecar();
    return site;
  }

  get journalPath(): string {
    return join(this.root, 'sidecar/journal/journal.db');
  }

  get sidecar(): SidecarProcess {
    if (this.#sidecar === null) throw new Error('the sidecar was not started');
    return this.#sidecar;
  }

  async startControl(): Promise<void> {
    const args = [
      '--data-dir',
      join(this.root, 'control'),
      '--listen',
      `127.0.0.1:${this.#ports.control}`,
    ];
    const control = new ControlProcess([...args, '--lease-ttl', '5s']);
    this.#undo.add('control', () => void control.kill('SIGKILL'));
    await control.listening;
    this.#control = control;
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
        HOLDFAST_CONTROL_URL: this.#url,
        HOLDFAST_HOST_NAME: HOST,
        HOLDFAST_SYNC_INTERVAL: SYNC_INTERVAL,
        HOLDFAST_REQUEST_TIMEOUT: REQUEST_TIMEOUT,
      },
    });
    await expectReady(this.#sidecar);
  }

  async kill(daemon: 'control' | 'sidecar'): Promise<void> {
    if (daemon === 'control') await this.#control?.kill('SIGKILL');
    else await this.sidecar.kill();
  }

  /** One that was killed, on the data that it left. */
  async restart(daemon: 'control' | 'sidecar'): Promise<void> {
    if (daemon === 'control') {
      await this.startControl();
      return;
    }
    await this.sidecar.close();
    await this.startSidecar();
  }

  /** The policy once more, as another revision. */
  async publish(name: string): Promise<number> {
    const control = this.controlClient();
    try {
      const { policyRevision: replaces } = await control.policy();
      const document = POLICY.replace(/^description: .*$/m, `description: ${name}`);
      const published = await control.publishPolicy(document, {
        format: 'yaml',
        replaces,
        impact: false,
      });
      if (!('policyRevision' in published)) throw new Error('the publication waits for somebody');
      return published.policyRevision;
    } finally {
      await control.close();
    }
  }

  /** Past the wire. */
  controlClient(): ControlClient {
    const endpoint = `http://127.0.0.1:${this.#ports.control}`;
    return openControl({ endpoint, token: adminTokenIn(join(this.root, 'control')) });
  }

  async close(): Promise<void> {
    await this.sidecar.close();
    await this.kill('control');
    this.proxy.close();
  }
}
