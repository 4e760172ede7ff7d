/** The control daemon of the simulation: the real one, on a simulated machine. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveControlConfig, type ControlConfiguration } from '../../../control/config.ts';
import { buildControl } from '../../../control/daemon.ts';
import { openSigningKeys } from '../../../control/signing-keys.ts';
import type { ControlStore } from '../../../control/store/control-store.ts';
import { openFloorFile } from '../../../control/store/floor-file.ts';
import { openSqliteControlStore } from '../../../control/store/sqlite-control-store.ts';
import type { CommitPace } from '../../../shared/platform/commit-pace.ts';
import { writeDurableFile } from '../../../shared/platform/durable-file.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import { generateSigningKey, type SigningKey } from '../../../shared/platform/signatures.ts';
import { DaemonNode, type NodeParts, type StartOutcome } from './daemon-node.ts';
import type { Life } from './life.ts';
import { StoreWatch } from './observed-store.ts';

export const SEED_BYTES = 32;
const KEYS_MAX = 4;
const RETRY_MS = 5_000;

/**
 * What a backup of the store that is put back replaces: the database, and the keys that its revisions
 * brought to the hosts.
 */
export const isStoreFile = (name: string): boolean =>
  name.startsWith('control.db') || name === 'signing-keys.json';

export class ControlNode extends DaemonNode {
  readonly watch: StoreWatch;
  readonly #configuration: ControlConfiguration;
  #stop: (() => Promise<void>) | null = null;
  #store: ControlStore | null = null;
  #isChangingKeys = false;
  /** Of the operator `admin`, since the first start. */
  adminToken = '';

  constructor(parts: NodeParts, configuration: ControlConfiguration) {
    super(parts);
    this.#configuration = configuration;
    this.watch = new StoreWatch(parts.log, this.machine);
  }

  protected async open(life: Life): Promise<StartOutcome> {
    const dataDir = this.disk.directory;
    const keysPath = join(dataDir, 'signing-keys.json');
    if (!existsSync(keysPath)) {
      const keys = [await generateSigningKey(this.random.bytes(SEED_BYTES))];
      writeDurableFile(keysPath, JSON.stringify({ keys }));
    }
    const store = openSqliteControlStore(join(dataDir, 'control.db'), this.#pace(life));
    life.closeLater(() => store.close());
    await this.watch.catchUp(store);
    const { clock } = life;
    const control = await buildControl({
      config: resolveControlConfig({ ...this.#configuration, dataDir }),
      clock,
      random: this.random,
      store: this.watch.observe(store, life),
      floors: openFloorFile(dataDir),
      keys: await openSigningKeys(dataDir),
      logger: createLogger({ name: 'control', level: 'silent' }),
      version: '0.0.0-simulation',
      keepAdminToken: (token) => {
        this.adminToken = token;
      },
      serve: async (app) => {
        await app.ready();
        return 'http://control.test';
      },
    });
    control.run().catch((error: unknown) => this.ended(life, String(error)));
    await control.listen();
    life.app = control.app;
    this.#stop = () => control.stop();
    this.#store = store;
    const { run } = await store.state();
    return { outcome: 'serving', detail: null, hostId: control.controlId, run, journalSeq: null };
  }

  /** Of the life that runs; `null` where none does. */
  get store(): ControlStore | null {
    return this.isUp ? this.#store : null;
  }

  /**
   * A key more, in front: control lets it sign once a revision has brought it to all hosts. The oldest
   * are taken out. False: control is down, or a change is under way already.
   */
  changeKeys(seed: Uint8Array): boolean {
    if (this.#isChangingKeys || !this.isUp || this.isHeldDown) return false;
    this.#isChangingKeys = true;
    void this.#addKey(seed).finally(() => {
      this.#isChangingKeys = false;
    });
    return true;
  }

  async #addKey(seed: Uint8Array): Promise<void> {
    const added = await generateSigningKey(seed);
    if (!this.isUp || this.isHeldDown) return;
    this.isHeldDown = true;
    await this.stop();
    const path = join(this.disk.directory, 'signing-keys.json');
    const { keys } = JSON.parse(readFileSync(path, 'utf8')) as { keys: SigningKey[] };
    const kept = [added, ...keys].slice(0, KEYS_MAX);
    writeDurableFile(path, JSON.stringify({ keys: kept }));
    this.isHeldDown = false;
    await this.start();
  }

  protected async stopping(): Promise<void> {
    await this.#stop?.();
  }

  /** A person puts it right: here there is nothing to do but to try again. */
  protected troubled(): void {
    this.agenda.after(RETRY_MS, () => void this.start());
  }

  #pace({ clock }: Life): CommitPace {
    return {
      soon: (commit) => void clock.startTimer(this.writeMs(), commit),
      later: (delayMs, commit) => clock.startTimer(delayMs, commit),
    };
  }
}
