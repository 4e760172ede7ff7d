/** A sidecar of the simulation: the real one, on a simulated machine. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startSidecar, type Sidecar } from '../../../dataplane/daemon.ts';
import type { SidecarConfig } from '../../../dataplane/config.ts';
import { journalFiles } from '../../../dataplane/journal/journal-files.ts';
import { openJournal } from '../../../dataplane/journal/open-journal.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import { writeDurableFile } from '../../../shared/platform/durable-file.ts';
import type { ProbeCaller } from '../../../shared/platform/http-probe.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import type { Journal } from '../../../dataplane/journal/journal.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import { acceptLoss } from './accept-loss.ts';
import { DaemonNode, type NodeParts, type StartOutcome } from './daemon-node.ts';
import { damageJournal, type JournalDamage } from './journal-damage.ts';
import { writerIn } from './journal-here.ts';
import type { Life } from './life.ts';
import type { MachineClock } from './machine-clock.ts';
import type { Network } from './network.ts';

const TOTAL_BYTES = 20 * 1024 ** 3;
const LOOK_AT_IT_MS = 15_000;

export const APP_TOKEN = 'token-of-the-app-of-the-simulation';
export const OTHER_APP_TOKEN = 'token-of-another-app-of-the-same-host';
export const OPERATOR_TOKEN = 'token-of-the-operators-of-the-host';

const APPS = `apps:
  - { name: shop, token: ${APP_TOKEN}, principals: ['*'] }
  - { name: desk, token: ${OTHER_APP_TOKEN}, principals: ['*'] }
  - { name: ops, token: ${OPERATOR_TOKEN}, principals: ['*'], operator: true }
`;

export type SidecarTerms = Pick<
  SidecarConfig,
  'syncInterval' | 'requestTimeout' | 'freshTimeout' | 'controlLossAfter' | 'labels'
>;

type Parts = NodeParts & {
  readonly network: Network;
  readonly terms: SidecarTerms;
  readonly probe: (machine: MachineClock, life: Life) => ProbeCaller;
  readonly probeTargets: readonly string[];
  /** As a person gets it from control; `null` where control does not give one just now. */
  readonly joinToken: (host: string) => Promise<string | null>;
};

export class SidecarNode extends DaemonNode {
  readonly #parts: Parts;
  #sidecar: Sidecar | null = null;
  #joinToken: string | null = null;
  /** Control did not take the last one: it was put back to a copy that does not know it. */
  #isTokenRefused = false;
  #isGivenUp = false;
  /** What the person does who accepts a loss: keeps what is left, where that can be. */
  #keepsRest = false;

  constructor(parts: Parts) {
    super(parts);
    this.#parts = parts;
  }

  protected async open(life: Life): Promise<StartOutcome> {
    const dataDir = this.disk.directory;
    const appsFile = join(dataDir, 'apps.yaml');
    mkdirSync(dataDir, { recursive: true });
    if (this.#isTokenRefused && (await this.enrol())) this.#isTokenRefused = false;
    writeFileSync(appsFile, APPS, { mode: 0o600 });
    const { network } = this.#parts;
    const { clock } = life;
    let journal: Journal | null = null;
    const sidecar = await startSidecar({
      config: this.#config(dataDir, appsFile),
      hostName: this.name,
      joinToken: this.#joinToken ?? undefined,
      clock,
      random: this.random,
      logger: createLogger({ name: 'sidecar', level: 'silent' }),
      transport: network.transport(this, life),
      compile: compileCel,
      readDiskSpace: async () => ({ freeBytes: this.freeBytes, totalBytes: TOTAL_BYTES }),
      openJournal: async (directory, _, onBatch) => {
        const opened = await openJournal(directory, clock, onBatch, writerIn(life, this));
        journal = opened;
        if (opened.quarantine === null) life.closeLater(() => opened.reader.close());
        return opened;
      },
      probe: this.#parts.probe(this.machine, life),
      openTransport: () => network.transport(this, life),
      openListeners: async ({ build }) => {
        const app = await build('tcp');
        await app.ready();
        life.app = app;
        return { apps: [app], address: null };
      },
      pause: () => Promise.resolve(),
      loopUse: () => 0,
    });
    this.#sidecar = sidecar;
    sidecar.done.catch((error: unknown) => {
      const detail = error instanceof Error ? error.message : String(error);
      if (life.isAlive && detail.includes('join_token_')) this.#isTokenRefused = true;
      this.ended(life, detail);
    });
    return outcomeOf(journal);
  }

  protected async stopping(): Promise<void> {
    await this.#sidecar?.stop();
  }

  /** A person looks at it a while later: accepts what is lost, and enrols the host anew. */
  protected troubled({ outcome, detail }: StartOutcome): void {
    const { lives } = this;
    this.agenda.after(LOOK_AT_IT_MS + this.random.below(LOOK_AT_IT_MS), () => {
      // It has been started again since, and that start has said how it went.
      if (this.lives !== lives) return;
      if (outcome === 'quarantined') void this.#renew(detail ?? '');
      else void this.start();
    });
  }

  /**
   * It has another history than control, and reports no more (R4 of the reporter): an old copy of its
   * disk went on. That its journal is not the true one is for a person to say.
   */
  async giveUp(detail: string): Promise<void> {
    if (!this.isUp || this.#isGivenUp) return;
    this.#isGivenUp = true;
    await this.stop();
    writeDurableFile(journalFiles(join(this.disk.directory, 'journal')).loss, `${detail}\n`);
    await this.#renew(detail);
    this.#isGivenUp = false;
  }

  /** While it does not run; `null`: there is nothing yet that could be lost. */
  damageJournal(random: FakeRandom): JournalDamage | null {
    this.#keepsRest = random.unit() < 0.5;
    return damageJournal(journalFiles(join(this.disk.directory, 'journal')), random);
  }

  async #renew(detail: string): Promise<void> {
    if (this.isUp) await this.stop();
    const joinToken = await this.#parts.joinToken(this.name);
    if (joinToken === null)
      return this.troubled({
        outcome: 'quarantined',
        detail,
        hostId: null,
        run: null,
        journalSeq: null,
      });
    const clock = this.machine.process();
    const done = await acceptLoss(this.disk.directory, clock, this.#keepsRest);
    this.machine.forget(clock);
    this.#keepsRest = false;
    this.#joinToken = joinToken;
    if (done !== null)
      this.log.add({ kind: 'host_renewed', node: this.name, detail: `${done}; ${detail}` });
    await this.start();
  }

  /** For the first start, and for one that control did not let in. */
  async enrol(): Promise<boolean> {
    this.#joinToken = await this.#parts.joinToken(this.name);
    return this.#joinToken !== null;
  }

  #config(dataDir: string, appsFile: string): SidecarConfig {
    return {
      ...this.#parts.terms,
      dataDir,
      listen: '127.0.0.1:7490',
      allowedHosts: [],
      controlUrl: 'http://control.test',
      appAuth: 'required',
      appsFile,
      ballast: '0B',
      writeWaitMax: '2s',
      retention: '7d',
      maxJournalSize: 'off',
      registersMax: 100,
      resumeRate: 40,
      probeTargets: [...this.#parts.probeTargets],
      logLevel: 'silent',
    };
  }
}

function outcomeOf(journal: Journal | null): StartOutcome {
  const quarantine = journal?.quarantine ?? null;
  return {
    outcome: quarantine === null ? 'serving' : 'quarantined',
    detail: quarantine,
    hostId: null,
    run: null,
    journalSeq: journal?.head().seq ?? null,
  };
}
