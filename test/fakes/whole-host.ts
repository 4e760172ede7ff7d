/**
 * One whole sidecar in this process, with its own journal and authority, beside a `ControlWorld`. It
 * can be stopped and started again, as control can, and the network between them can be cut.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSidecar, type Sidecar } from '../../dataplane/daemon.ts';
import { readDiskSpace } from '../../dataplane/journal/disk-space.ts';
import { JournalEngine } from '../../dataplane/journal/journal-engine.ts';
import { journalFiles } from '../../dataplane/journal/journal-files.ts';
import { JournalReader } from '../../dataplane/journal/journal-reader.ts';
import { Journal } from '../../dataplane/journal/journal.ts';
import { verifyJournal } from '../../dataplane/journal/start-verification.ts';
import {
  openControl,
  openSidecar,
  type ControlClient,
  type SidecarClient,
} from '../../shared/client/index.ts';
import {
  UndiciTransport,
  UnreachableError,
  type Transport,
} from '../../shared/client/transport.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import { SystemClock, type Clock } from '../../shared/platform/clock.ts';
import { HttpProbeCaller } from '../../shared/platform/http-probe.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import { SystemRandom, type Random } from '../../shared/platform/random.ts';
import type { OutageCause } from '../../shared/wire/operation.ts';
import type { ControlWorld } from './control-world.ts';

const POLL_MS = 10;

/** Real time, with the wall of control's clock: requests are dated. */
function besideOf(control: ControlWorld): Clock {
  const real = new SystemClock();
  const offsetMs = control.clock.now().wallMs - real.now().wallMs;
  return {
    now: () => {
      const now = real.now();
      return { ...now, wallMs: now.wallMs + offsetMs };
    },
    sleep: (durationMs, signal) => real.sleep(durationMs, signal),
    startTimer: (durationMs, fire) => real.startTimer(durationMs, fire),
  };
}

/** Who tries again does so at once: a test waits for nothing that jitter decides. */
function withoutPatience(): Random {
  const real = new SystemRandom();
  return { bytes: (length) => real.bytes(length), unit: () => 0.05 };
}

/** Its writer is in this thread: to load a thread takes longer than all that is done in it here. */
async function openHere(directory: string, clock: Clock): Promise<Journal> {
  mkdirSync(directory, { recursive: true });
  const files = journalFiles(directory);
  const verdict = verifyJournal(files);
  if (verdict.kind !== 'ok' && verdict.kind !== 'fresh') throw new Error(JSON.stringify(verdict));
  const engine = new JournalEngine(files, clock);
  return new Journal({
    writer: {
      write: async (commands) => engine.write(commands),
      close: async () => engine.close(),
    },
    reader: new JournalReader(files.database),
    snapshot: engine.snapshot(),
    clock,
  });
}

const cutOff = (cause: OutageCause): Error =>
  new UnreachableError(cause, `the network is cut: ${cause}`);

export class WholeHost {
  #cut: OutageCause | null = null;
  #whole = new AbortController();
  readonly #control: ControlWorld;
  readonly #clock: Clock;
  readonly #dataDir = mkdtempSync(join(tmpdir(), 'holdfast-host-'));
  #joinToken: string | undefined;
  #network: { address: string; transport: UndiciTransport } | null = null;
  #running: { sidecar: Sidecar; client: SidecarClient } | null = null;

  private constructor(control: ControlWorld, joinToken: string) {
    this.#control = control;
    this.#clock = besideOf(control);
    this.#joinToken = joinToken;
  }

  static async start(control: ControlWorld): Promise<WholeHost> {
    const host = new WholeHost(control, await control.joinToken('host-1'));
    await host.start();
    return host;
  }

  /** How control cannot be reached; `null`: it can. What is under way when it is cut is lost too. */
  get cut(): OutageCause | null {
    return this.#cut;
  }

  set cut(cause: OutageCause | null) {
    this.#cut = cause;
    this.#whole.abort();
    this.#whole = new AbortController();
  }

  get client(): SidecarClient {
    if (this.#running === null) throw new Error('the sidecar is stopped');
    return this.#running.client;
  }

  async start(): Promise<void> {
    const sidecar = await startSidecar({
      config: {
        dataDir: this.#dataDir,
        listen: '127.0.0.1:0',
        allowedHosts: [],
        controlUrl: 'http://control.test',
        appAuth: 'off',
        labels: [],
        syncInterval: '100ms',
        requestTimeout: '2s',
        freshTimeout: '1s',
        controlLossAfter: '0s',
        ballast: '0B',
        writeWaitMax: '30s',
        retention: '7d',
        maxJournalSize: 'off',
        registersMax: 10,
        resumeRate: 50,
        probeTargets: [],
        logLevel: 'silent',
      },
      hostName: 'host-1',
      joinToken: this.#joinToken,
      clock: this.#clock,
      random: withoutPatience(),
      logger: createLogger({ name: 'test', level: 'silent' }),
      transport: this.#transport(),
      compile: compileCel,
      readDiskSpace,
      openJournal: openHere,
      probe: new HttpProbeCaller(),
      openTransport: (url) => new UndiciTransport({ url }),
    });
    const client = openSidecar({ endpoint: sidecar.address ?? '', token: 'any' });
    this.#running = { sidecar, client };
  }

  async stop(): Promise<void> {
    await this.#running?.client.close();
    await this.#running?.sidecar.stop();
    this.#running = null;
    this.#joinToken = undefined;
  }

  /** Polls what only the daemons can know; the test's own time-out is the bound. */
  async until(isSo: () => Promise<boolean>): Promise<void> {
    this.#keepInStep();
    while (!(await isSo())) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      this.#keepInStep();
    }
  }

  /** Control's clock moves only when told: a request from its future would be refused. */
  #keepInStep(): void {
    const { clock } = this.#control;
    clock.jump(Math.max(0, this.#clock.now().wallMs - clock.now().wallMs));
  }

  openControl(): ControlClient {
    return openControl({ endpoint: this.#control.address, token: this.#control.adminToken });
  }

  async dispose(): Promise<void> {
    await this.stop();
    await this.#network?.transport.close();
    rmSync(this.#dataDir, { recursive: true });
  }

  /** Control has another address after each start, and none while it is stopped. */
  #transport(): Transport {
    return {
      send: async (request) => {
        if (this.cut !== null) throw cutOff(this.cut);
        const network = await this.#networkTo();
        const whole = this.#whole.signal;
        const signal = request.signal ? AbortSignal.any([request.signal, whole]) : whole;
        return network.send({ ...request, signal }).catch((error: unknown) => {
          throw whole.aborted && this.cut !== null ? cutOff(this.cut) : error;
        });
      },
      close: () => Promise.resolve(),
    };
  }

  async #networkTo(): Promise<UndiciTransport> {
    const { address } = this.#control;
    if (this.#network?.address !== address) {
      await this.#network?.transport.close();
      this.#network = { address, transport: new UndiciTransport({ url: address }) };
    }
    return this.#network.transport;
  }
}
