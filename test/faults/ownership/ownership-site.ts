/** A real control, that can be killed and put back to a copy, and two sidecars that want one lease. */
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claimPort } from '../../../control/cli/dev/free-port.ts';
import { openControl, type ControlClient } from '../../../shared/client/index.ts';
import { ControlProcess, adminTokenIn } from '../../fakes/control-process.ts';
import { CannotRunHere } from '../campaign.ts';
import { expectReady } from '../subject.ts';
import { HostNetwork, whyNoNamespaces } from '../inject/host-network.ts';
import { scratchDirectory } from '../scratch.ts';
import type { Undo } from '../undo.ts';
import { ChaosProxy } from '../inject/chaos-proxy.ts';
import { HostWire } from './host-wire.ts';
import { FIRST_HOURS, OwnershipHost } from './ownership-host.ts';
import type { OwnershipRecord } from './ownership-record.ts';

export const TTL_MS = 3_000;
const NAMES = ['host-a', 'host-b'] as const;
const TOKEN = 'ownership-campaign-token';
const POLICY = new URL('./ownership-policy.yaml', import.meta.url);
const DATABASE = ['control.db', 'control.db-wal', 'control.db-shm'];

export class OwnershipSite {
  readonly root: string;
  readonly #undo: Undo;
  readonly #port: number;
  readonly #library: string;
  /** Why the hosts have no networks of their own; `null`: they have. */
  readonly withoutNetworks = whyNoNamespaces();
  #control: ControlProcess | null = null;
  hosts: readonly OwnershipHost[] = [];

  private constructor(root: string, undo: Undo, at: { port: number; library: string }) {
    this.root = root;
    this.#undo = undo;
    this.#port = at.port;
    this.#library = at.library;
  }

  static async make(undo: Undo, record: OwnershipRecord): Promise<OwnershipSite> {
    const [library] = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1');
    if (library === undefined)
      throw new CannotRunHere('ownership needs libfaketime: install faketime');
    const { root } = scratchDirectory(undo, 'ownership');
    const controlPort = await claimPort(0, { flag: 'the campaign' });
    const site = new OwnershipSite(root, undo, { port: controlPort, library });
    await site.startControl(FIRST_HOURS);
    const client = site.#client();
    try {
      await client.publishPolicy(readFileSync(POLICY, 'utf8'), { format: 'yaml', replaces: null });
      const apps = { apps: [{ name: 'worker', token: TOKEN, principals: ['*'], operator: true }] };
      const appsFile = join(root, 'apps.json');
      writeFileSync(appsFile, JSON.stringify(apps), { mode: 0o600 });
      const hosts: OwnershipHost[] = [];
      for (const [index, name] of NAMES.entries()) {
        const { joinToken } = await client.createJoinToken({ hostName: name });
        const joinTokenFile = join(root, `${name}.join`);
        writeFileSync(joinTokenFile, joinToken, { mode: 0o600 });
        const network = site.withoutNetworks === null ? new HostNetwork(index, undo) : null;
        const proxy = new ChaosProxy(site.#port);
        const url = await proxy.listen(network?.nearAddress);
        const wire = new HostWire(proxy, network);
        undo.add(`the wire of ${name}`, () => wire.close());
        mkdirSync(join(root, name));
        const port = await claimPort(0, { flag: 'the campaign' });
        const at = { root, template: '', appsFile, token: TOKEN, port };
        hosts.push(
          new OwnershipHost({
            name,
            site: at,
            undo,
            record,
            wire,
            url,
            joinTokenFile,
            library,
          }),
        );
      }
      site.hosts = hosts;
    } finally {
      await client.close();
    }
    for (const host of site.hosts) await expectReady(host.process);
    return site;
  }

  /** Its wall clock may be hours off; the clock by which leases are measured is not. */
  async startControl(hours = 0): Promise<void> {
    const args = ['--data-dir', this.#dataDir, '--listen', `127.0.0.1:${this.#port}`];
    const clock = {
      LD_PRELOAD: this.#library,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME: `${hours < 0 ? '' : '+'}${hours}h`,
    };
    const env = hours === 0 ? {} : clock;
    const control = new ControlProcess([...args, '--lease-ttl', `${TTL_MS}ms`], env);
    this.#undo.add('control', () => void control.kill('SIGKILL'));
    await control.listening;
    this.#control = control;
  }

  async killControl(): Promise<void> {
    await this.#control?.kill('SIGKILL');
  }

  /** Of its database, while it is down. */
  copyDatabase(): void {
    for (const name of DATABASE)
      cpSync(join(this.#dataDir, name), join(this.root, `copy-${name}`), { force: true });
  }

  restoreDatabase(): void {
    for (const name of DATABASE) {
      rmSync(join(this.#dataDir, name), { force: true });
      cpSync(join(this.root, `copy-${name}`), join(this.#dataDir, name));
    }
  }

  /** Of what control knows, by the times in its trail. */
  async knowledgeAgeMinutes(): Promise<number> {
    const client = this.#client();
    try {
      const { items } = await client.audit();
      const published = items.find(({ action }) => action === 'policy.published');
      if (published === undefined) throw new Error('control knows of no publication');
      return Math.round((Date.now() - published.atMs) / 60_000);
    } finally {
      await client.close();
    }
  }

  async close(): Promise<void> {
    for (const host of this.hosts) {
      await host.stop();
      host.wire.close();
    }
    await this.killControl();
  }

  get #dataDir(): string {
    return join(this.root, 'control');
  }

  #client(): ControlClient {
    const endpoint = `http://127.0.0.1:${this.#port}`;
    return openControl({ endpoint, token: adminTokenIn(this.#dataDir) });
  }
}
