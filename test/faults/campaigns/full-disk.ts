/**
 * The disk fills up under a loaded sidecar. New work is refused before there is no room left, what
 * was accepted is carried to its end, the process never ends, and once there is room again new work
 * is admitted by itself.
 */
import { appendFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { diskMarks, type DiskMarks } from '../../../dataplane/core/disk-pressure.ts';
import type { Operation } from '../../../shared/wire/operation.ts';
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import type { Lie } from '../check/lie.ts';
import { historyChecks } from '../check/promise-checks.ts';
import { History, countCalls, type Call, type CallEnd } from '../history/history.ts';
import { endOfError } from '../history/work-target.ts';
import { Workload } from '../history/workload.ts';
import { LOOP_DISK_PROGRAMS, LoopDisk } from '../inject/loop-disk.ts';
import { pause } from '../pause.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { copySite, makeSite, type Site } from '../sidecar/site.ts';
import { startText } from '../subject.ts';
import { Verifier } from '../verifier.ts';

const MIB = 1024 * 1024;
const CLIENTS = 8;
/** Above the mark when the load begins: it is the load that reaches it. */
const ROOM_BYTES = MIB;
const BOUND_MS = 30_000;
/** Before the disk fills up, by nobody who would work on it. */
const ACCEPTED_FIRST = 100;
/** Past the first refusal, so that more than one answer of a full disk is seen. */
const LOAD_AFTER_MS = 1_500;
const LOAD_AT_END_MS = 1_000;
const FILL_STEP_BYTES = 64 * 1024;

/** The second time the disk is full to the last byte while the sidecar is down. */
const KINDS = [
  { name: 'fills up', sizeMb: 64, ballast: '6MiB', fullAtStart: false },
  { name: 'full at the start', sizeMb: 64, ballast: '6MiB', fullAtStart: true },
  { name: 'too small for what is asked', sizeMb: 16, ballast: '64MiB', fullAtStart: false },
] as const;

export const fullDisk: Campaign = {
  name: 'enospc',
  about: 'a small disk fills up under load, to the last byte at a start, and has room again later',
  cyclesAtFirst: 3,
  needs: LOOP_DISK_PROGRAMS,
  run,
};

async function run(options: CampaignOptions): Promise<CampaignReport> {
  const { cycles, undo, isOver, say } = options;
  const site = await makeSite(undo);
  const filled: FullDisk[] = [];
  for (let cycle = 0; cycle < cycles && !isOver(); cycle += 1) {
    const kind = KINDS[cycle % KINDS.length] ?? KINDS[0];
    const one = new FullDisk(site, options, { name: `full-${cycle + 1}`, kind });
    filled.push(one);
    await one.run();
    say(`full-${cycle + 1}, ${kind.name}: ${JSON.stringify(one.counts)}`);
  }
  const calls = filled.flatMap(({ history }) => history.calls);
  const free = filled.map(({ freeKib }) => freeKib).join(', ');
  const codes: Record<string, number> = {};
  for (const { end } of calls) {
    if (end === null || end.kind === 'ok') continue;
    codes[`answer ${end.code}`] = (codes[`answer ${end.code}`] ?? 0) + 1;
  }
  const sums: Record<string, number> = {};
  for (const { counts } of filled)
    for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
  return {
    counts: {
      cycles: filled.length,
      'KiB free at the first refusals': free,
      ...sums,
      ...countCalls(calls),
      ...codes,
    },
    faults: {
      'disk full': filled.length,
      'start on a full disk': sums['started on a full disk'] ?? 0,
    },
    checks: { ...historyChecks(calls), I8: sums['accepted work ended while full'] ?? 0 },
    lies: filled.flatMap(({ lies }) => lies),
    breaches: filled.flatMap(({ breaches }) => breaches),
  };
}

/** One disk, from its first byte to its end. */
class FullDisk {
  readonly history = new History();
  readonly breaches: Breach[] = [];
  readonly counts = {
    'known keys answered while full': 0,
    'accepted work ended while full': 0,
    'ballasts released': 0,
    'started on a full disk': 0,
    'admitted again by itself': 0,
    'ballasts made again': 0,
  };
  freeKib = 0;
  readonly #site: Site;
  readonly #options: CampaignOptions;
  readonly #name: string;
  readonly #kind: (typeof KINDS)[number];
  readonly #disk: LoopDisk;
  readonly #dataDir: string;
  readonly #filler: string;
  readonly #marks: DiskMarks;
  readonly #verifier: Verifier;
  #sidecar: SidecarProcess;

  constructor(
    site: Site,
    options: CampaignOptions,
    { name, kind }: { readonly name: string; readonly kind: (typeof KINDS)[number] },
  ) {
    this.#site = site;
    this.#options = options;
    this.#name = name;
    this.#kind = kind;
    this.#disk = new LoopDisk(join(site.root, name), options.undo, { sizeMb: kind.sizeMb });
    this.#dataDir = join(this.#disk.directory, 'data');
    this.#filler = join(this.#disk.directory, 'filler');
    const askedMib = Number.parseInt(kind.ballast, 10);
    this.#marks = diskMarks(askedMib * MIB, this.#disk.totalBytes);
    const journalPath = join(this.#dataDir, 'journal/journal.db');
    const random = options.random.fork();
    this.#verifier = new Verifier({ history: this.history, journalPath, random });
    copySite(site, this.#dataDir);
    this.#sidecar = this.#start();
  }

  get lies(): readonly Lie[] {
    return this.#verifier.lies;
  }

  async run(): Promise<void> {
    try {
      await this.#untilReady();
      await this.#untilMetric('holdfast_journal_ballast_bytes', this.#marks.ballastBytes);
      for (let count = 1; count <= ACCEPTED_FIRST; count += 1) await this.#admit(`early-${count}`);
      const workload = await this.#loadUntilRefused();
      await this.#endAccepted(0.5);
      if (this.#kind.fullAtStart) await this.#startOnFullDisk();
      else await this.#fillUnderIt();
      await this.#endAccepted(1);
      await this.#expectRefused();
      rmSync(this.#filler);
      await this.#untilAdmitted();
      await this.#check(workload);
    } catch (error) {
      this.#breach(error instanceof Error ? error.message : String(error));
    }
    await this.#sidecar.close();
    this.#disk.remove();
  }

  #start(): SidecarProcess {
    const { ballast } = this.#kind;
    return new SidecarProcess(this.#site, this.#options.undo, { dataDir: this.#dataDir, ballast });
  }

  #breach(detail: string): void {
    this.breaches.push({ what: this.#name, detail });
  }

  async #untilReady(): Promise<void> {
    const started = await this.#sidecar.started();
    if (started.kind !== 'ready') throw new Error(`it does not serve: ${startText(started)}`);
  }

  /** The load itself takes the disk over the mark. */
  async #loadUntilRefused(): Promise<Workload> {
    this.#fill(this.#marks.softBytes + ROOM_BYTES);
    const workload = new Workload({
      target: this.#sidecar.target,
      history: this.history,
      random: this.#options.random.fork(),
      prefix: this.#name,
    });
    workload.start(CLIENTS);
    try {
      await this.#until('new work was refused', () => firstRefusal(this.history) !== undefined);
      // Accepted work has gone on since, and taken some.
      this.freeKib = Math.floor(this.#disk.freeBytes / 1024);
      if (this.freeKib === 0) this.#breach('the disk was full when new work was first refused');
      await this.#stays(LOAD_AFTER_MS);
    } finally {
      await workload.stop();
    }
    const refusedAt = firstRefusal(this.history)?.endedAt ?? 0;
    const after = this.history.calls.filter(({ invokedAt }) => invokedAt > refusedAt);
    for (const { request, end } of after) {
      if (request.kind !== 'admit' || end?.kind !== 'ok') continue;
      if (end.answer.replayed) this.counts['known keys answered while full'] += 1;
      else this.#breach(`${request.key} was admitted after others had been refused`);
    }
    return workload;
  }

  /** Accepted work is to reach its end, whatever the disk is like. */
  async #endAccepted(share: number): Promise<void> {
    const open = (await this.#sidecar.target.listed()).filter(isOpenOperation);
    if (share === 1 && open.length === 0) this.#breach('nothing was left to end');
    for (const operation of open.slice(0, Math.ceil(open.length * share))) {
      const { operationId, idempotencyKey: key, attempt } = operation;
      const known = { operationId, attempt };
      for (const { name: effect, state } of operation.effects) {
        if (state !== 'begun') continue;
        // What the workload itself would have reported.
        const result = `${effect} receipt of ${key}`;
        const request = {
          kind: 'settle_effect',
          key,
          effect,
          outcome: 'succeeded',
          result,
        } as const;
        const end = await this.#call(request, known);
        if (end.kind !== 'ok') this.#breach(`${effect} of ${key} was answered with ${end.code}`);
      }
      const end = await this.#call({ kind: 'cancel', key }, known);
      if (end.kind === 'ok') this.counts['accepted work ended while full'] += 1;
      else this.#breach(`the end of ${key} was answered with ${end.code}`);
    }
    const left = (await this.#sidecar.target.listed()).filter(isOpenOperation);
    if (share === 1 && left.length > 0) this.#breach(`${left.length} operations have not ended`);
  }

  /** Somebody else takes the rest, and what the ballast gives back as well. */
  async #fillUnderIt(): Promise<void> {
    while (this.#disk.freeBytes >= this.#marks.hardBytes) {
      this.#fill(Math.max(0, this.#disk.freeBytes - FILL_STEP_BYTES));
      await this.#stays(10);
    }
    await this.#untilReleased();
    this.#fill(this.#marks.hardBytes);
  }

  async #startOnFullDisk(): Promise<void> {
    await this.#sidecar.kill();
    await this.#sidecar.close();
    this.#fill(0);
    this.#sidecar = this.#start();
    await this.#untilReady();
    this.counts['started on a full disk'] += 1;
    await this.#untilReleased();
  }

  async #untilReleased(): Promise<void> {
    await this.#untilMetric('holdfast_journal_ballast_bytes', 0);
    await this.#untilMetric('holdfast_disk_pressure\\{state="hard"\\}', 1);
    this.counts['ballasts released'] += 1;
  }

  async #expectRefused(): Promise<void> {
    const end = await this.#admit('while-full');
    if (end.kind !== 'fail' || end.code !== 'journal_full')
      this.#breach(`new work on a full disk was answered with ${JSON.stringify(end)}`);
    const health = await this.#sidecar.target.client.health();
    if (health.dataPlane.parts['disk']?.state !== 'degraded')
      this.#breach(`its health says ${JSON.stringify(health.dataPlane.parts['disk'])}`);
  }

  async #untilAdmitted(): Promise<void> {
    let tries = 0;
    await this.#until('new work was admitted again', async () => {
      tries += 1;
      return (await this.#admit(`again-${tries}`)).kind === 'ok';
    });
    this.counts['admitted again by itself'] += 1;
    await this.#untilMetric('holdfast_journal_ballast_bytes', this.#marks.ballastBytes);
    this.counts['ballasts made again'] += 1;
  }

  /** It serves as before, and after a kill all of it is true. */
  async #check(first: Workload): Promise<void> {
    const workload = new Workload({
      target: this.#sidecar.target,
      history: this.history,
      random: this.#options.random.fork(),
      prefix: `${this.#name}-2`,
    });
    workload.start(CLIENTS);
    await this.#stays(LOAD_AT_END_MS);
    await this.#sidecar.kill();
    await workload.stop();
    await this.#sidecar.close();
    this.#sidecar = this.#start();
    await this.#untilReady();
    await this.#verifier.afterCrash(this.#sidecar.target, [...first.begun, ...workload.begun]);
    await this.#sidecar.close();
    this.#verifier.checkAll();
  }

  #admit(key: string): Promise<CallEnd> {
    return this.#call(
      { kind: 'admit', key: `${this.#name}-${key}`, amount: 1 },
      { operationId: '', attempt: 0 },
    );
  }

  async #call(
    request: Call['request'],
    known: { readonly operationId: string; readonly attempt: number },
  ): Promise<CallEnd> {
    const call = this.history.invoke(request);
    let end: CallEnd;
    try {
      end = { kind: 'ok', answer: await this.#sidecar.target.perform(request, known) };
    } catch (error) {
      end = endOfError(error);
    }
    this.history.end(call, end);
    return end;
  }

  /** With bytes that are really written, until so many are free. */
  #fill(leaveBytes: number): void {
    for (;;) {
      const bytes = Math.min(MIB, this.#disk.freeBytes - leaveBytes);
      if (bytes <= 0) return;
      try {
        appendFileSync(this.#filler, Buffer.alloc(bytes, 1), { flush: true });
      } catch (error) {
        // The last blocks that are told as free are not all to be had.
        if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return;
        throw error;
      }
    }
  }

  async #untilMetric(name: string, value: number): Promise<void> {
    await this.#until(`${name} was ${value}`, async () => {
      const text = (await this.#sidecar.probe('/metrics'))?.body ?? '';
      return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]) === value;
    });
  }

  async #until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    const startedMs = performance.now();
    while (!(await isSo())) {
      if (performance.now() - startedMs > BOUND_MS)
        throw new Error(`${BOUND_MS / 1_000} s passed before ${what}`);
      await this.#stays(20);
    }
  }

  /** It is not to end by itself, ever. */
  async #stays(durationMs: number): Promise<void> {
    await pause(durationMs);
    if (!this.#sidecar.hasEnded) return;
    const { code, said } = await this.#sidecar.ended;
    throw new Error(`it ended by itself with exit code ${code}: ${said}`);
  }
}

function firstRefusal({ calls }: History): Call | undefined {
  return calls
    .filter(({ end }) => end?.kind === 'fail' && end.code === 'journal_full')
    .toSorted((a, b) => a.endedAt - b.endedAt)[0];
}

function isOpenOperation({ state }: Operation): boolean {
  return state === 'accepted' || state === 'executing' || state === 'paused';
}
