/**
 * A control daemon on a real port with a real store in a directory of its own; time is a fake
 * clock. It can be stopped, killed (nothing is closed), started again, and its files put back to an
 * earlier copy.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveControlConfig, type ControlConfiguration } from '../../control/config.ts';
import { buildControl, type Control } from '../../control/daemon.ts';
import { openSigningKeys, type SigningKeys } from '../../control/signing-keys.ts';
import type { ControlStore } from '../../control/store/control-store.ts';
import { openFloorFile } from '../../control/store/floor-file.ts';
import { openSqliteControlStore } from '../../control/store/sqlite-control-store.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import type { JoinToken } from '../../shared/wire/control-api.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeRandom } from './fake-random.ts';
import { SigningHost } from './signing-host.ts';

export const STANDARD: ControlConfiguration = {
  dataDir: '',
  listen: '127.0.0.1:0',
  logLevel: 'silent',
  allowedHosts: [],
  leaseTtl: '30s',
  lockDelay: '0s',
  drift: 0.01,
  leasesPerHostMax: 1_000,
  hostLateAfter: '15s',
  hostLostAfter: '1m',
  placementLostAfter: '30s',
  placementBrakeShare: 0.5,
  bundleWaitMax: '30s',
  bundleWaitersMax: 100,
  reconnectRate: 500,
  joinTokenTtl: '10m',
  twoPersonPublication: 'off',
  rollout: 'all',
  rolloutStages: ['5%/10m', '25%/10m', '100%'],
};

/** The grantor's length of a lease of 30 s: 1 % of drift, and the margin. */
export const TERM_MS = 30_400;

export function policyDocument(over: Partial<PolicyDocument> = {}): PolicyDocument {
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [
      {
        name: 'capture-payment',
        actions: ['payments.capture'],
        permit: [{ expression: 'attributes.amount <= 500', message: 'at most 500' }],
      },
    ],
    ...over,
  };
}

export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; `{}` where it is none. */
  readonly json: Record<string, unknown>;
};

export class ControlWorld {
  readonly clock = new FakeClock();
  readonly dataDir = mkdtempSync(join(tmpdir(), 'holdfast-control-'));
  readonly logged: { msg: string; level: string }[] = [];
  #over: Partial<ControlConfiguration>;
  #seed = 1;
  #adminToken = '';
  #running: { control: Control; store: ControlStore; address: string; keys: SigningKeys } | null =
    null;

  private constructor(over: Partial<ControlConfiguration>) {
    this.#over = over;
  }

  static async create(over: Partial<ControlConfiguration> = {}): Promise<ControlWorld> {
    const world = new ControlWorld(over);
    await world.start();
    return world;
  }

  get control(): Control {
    return this.#now.control;
  }

  get store(): ControlStore {
    return this.#now.store;
  }

  get address(): string {
    return this.#now.address;
  }

  get adminToken(): string {
    return this.#adminToken;
  }

  async start(): Promise<void> {
    const config = resolveControlConfig({ ...STANDARD, ...this.#over, dataDir: this.dataDir });
    const store = openSqliteControlStore(join(this.dataDir, 'control.db'));
    const keys = await openSigningKeys(this.dataDir);
    const destination = {
      write: (line: string) => void this.logged.push(JSON.parse(line) as never),
    };
    try {
      const control = await buildControl({
        config,
        clock: this.clock,
        random: new FakeRandom((this.#seed += 1)),
        store,
        floors: openFloorFile(this.dataDir),
        keys,
        logger: createLogger({ name: 'test', level: 'debug', destination }),
        version: '0.0.0-test',
        keepAdminToken: (token) => {
          this.#adminToken = token;
        },
      });
      this.#running = { control, store, keys, address: await control.listen() };
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#running?.control.stop();
    this.#running = null;
  }

  async restart(over: Partial<ControlConfiguration> = {}): Promise<void> {
    await this.stop();
    this.#over = { ...this.#over, ...over };
    await this.start();
  }

  /**
   * A copy of the database (of everything, with `all`), to be put back by `restore`. Control is
   * stopped for it.
   */
  async backUp(options: { all?: boolean } = {}): Promise<() => Promise<void>> {
    await this.stop();
    const copy = mkdtempSync(join(tmpdir(), 'holdfast-copy-'));
    cpSync(this.dataDir, copy, { recursive: true });
    await this.start();
    return async () => {
      await this.stop();
      if (options.all === true) {
        rmSync(this.dataDir, { recursive: true });
        mkdirSync(this.dataDir);
        cpSync(copy, this.dataDir, { recursive: true });
      } else {
        for (const name of ['control.db-wal', 'control.db-shm'])
          rmSync(join(this.dataDir, name), { force: true });
        cpSync(join(copy, 'control.db'), join(this.dataDir, 'control.db'));
      }
      rmSync(copy, { recursive: true });
      await this.start();
    };
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  async call(
    method: string,
    path: string,
    options: {
      token?: string | null;
      headers?: Record<string, string>;
      body?: unknown;
      text?: string;
      signal?: AbortSignal;
    } = {},
  ): Promise<Answer> {
    const token = options.token === undefined ? this.#adminToken : options.token;
    const body =
      options.text ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    const response = await fetch(this.address + path, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(body === undefined ? {} : { body }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const text = await response.text();
    const isJson = (response.headers.get('content-type') ?? '').includes('json');
    const json = isJson ? (JSON.parse(text) as Record<string, unknown>) : {};
    return { status: response.status, headers: response.headers, text, json };
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.call('GET', path, { headers });
  }

  /** Publishes after what is in force. */
  async publish(
    document: unknown = policyDocument(),
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const etag = (await this.get('/v1/policy')).headers.get('etag');
    const condition: Record<string, string> =
      etag === null ? { 'if-none-match': '*' } : { 'if-match': etag };
    return this.call('PUT', '/v1/policy', {
      body: document,
      headers: { ...condition, ...headers },
    });
  }

  async joinToken(hostName: string, ttl?: string): Promise<string> {
    const body = { hostName, ...(ttl === undefined ? {} : { ttl }) };
    const answer = await this.call('POST', '/v1/join-tokens', { body });
    return (answer.json as unknown as JoinToken).joinToken;
  }

  async enrolHost(hostName = 'host-1'): Promise<SigningHost> {
    const host = await SigningHost.create(this, hostName);
    await host.enrol(await this.joinToken(hostName));
    return host;
  }

  async metric(line: string): Promise<number | null> {
    const { text } = await this.call('GET', '/metrics', { token: null });
    const found = text.split('\n').find((one) => one.startsWith(`${line} `));
    return found === undefined ? null : Number(found.slice(line.length));
  }

  get #now() {
    if (this.#running === null) throw new Error('control is stopped');
    return this.#running;
  }
}
