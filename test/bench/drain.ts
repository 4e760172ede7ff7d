/**
 * How fast a backlog of reports goes up, and what that costs admissions. Measured in one run: without
 * a backlog, before and after; with it alone, under an even load, and under all the load that the
 * sidecar takes. Control, sidecar and load share this machine, and its processors.
 */
import { join } from 'node:path';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import type { Journal } from '../../dataplane/journal/journal.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import { HostUnderLoad, median, pause } from './host-under-load.ts';
import { benchAdmission } from './journal-admission.ts';
import type { LoadResult } from './http-load.ts';

type Stretch = {
  readonly stretch: string;
  readonly events: number;
  readonly drainPerSecond: number;
  readonly admitPerSecond: number | null;
  /** Of the rate without a backlog. */
  readonly admitKept: number | null;
  readonly admitP99Ms: number | null;
  readonly controlCpuMicrosPerEvent: number;
  readonly controlBytesPerEvent: number;
  readonly sidecarCpuMs: number;
  readonly seconds: number;
};

export type DrainFigures = {
  readonly stretches: readonly Stretch[];
  readonly backlog: number;
  /** Of all of it, the whole time over. */
  readonly drainPerSecond: number;
  readonly admitPerSecondBefore: number;
  readonly admitPerSecondAfter: number;
  readonly evenLoadPerSecond: number;
  readonly evenLoadP99MsWithout: number;
};

export type DrainOptions = {
  readonly events: number;
  readonly rounds: number;
  readonly requests: number;
  readonly connections: number;
  /** Of what the sidecar takes at most: the even load. */
  readonly loadPart: number;
  readonly controlDir?: string;
  readonly say: (text: string) => void;
};

const ENTRIES_OF_A_LIFE = 5;
const LIVES_AT_ONCE = 250;
const POLL_MS = 100;

const clock = new SystemClock();
const random = new SystemRandom();

export async function benchDrain(options: DrainOptions): Promise<DrainFigures> {
  const { say, rounds, requests, connections } = options;
  const host = await HostUnderLoad.start(say, options);
  try {
    const all = async (name: string): Promise<number> => {
      const rates: number[] = [];
      for (let round = 0; round < rounds; round += 1)
        rates.push((await host.admit({ connections, requests })).perSecond);
      say(`${name}, no backlog: ${rates.map(Math.round).join(', ')} admissions/s`);
      return median(rates);
    };
    await host.admit({ connections, requests });
    const before = await all('before');
    const perSecond = Math.max(1, Math.round(before * options.loadPart));
    const even = { connections, perSecond, requests: perSecond * rounds };
    const evenWithout = await host.admit(even);
    await untilReported(host);
    const backlog = await fill(host, options);
    const begun = await position(host);
    const startedMs = performance.now();
    const stretches: Stretch[] = [];
    const third = (part: number) => begun + Math.round((backlog * part) / 3);
    const most = { connections, requests: Number.MAX_SAFE_INTEGER };
    stretches.push(await stretch('alone', host, { untilSeq: third(1) }));
    stretches.push(
      await stretch('even load', host, { untilSeq: third(2), load: { ...most, perSecond } }),
    );
    stretches.push(await stretch('all load', host, { untilSeq: third(3), load: most }));
    const drainPerSecond = backlog / ((performance.now() - startedMs) / 1_000);
    await untilReported(host);
    const after = await all('after');
    const base = median([before, after]);
    const figures = stretches.map((one) => ({
      ...one,
      admitKept:
        one.admitPerSecond === null
          ? null
          : one.admitPerSecond / (one.stretch === 'all load' ? base : evenWithout.perSecond),
    }));
    for (const one of figures) say(line(one));
    return {
      stretches: figures,
      backlog,
      drainPerSecond,
      admitPerSecondBefore: before,
      admitPerSecondAfter: after,
      evenLoadPerSecond: perSecond,
      evenLoadP99MsWithout: evenWithout.p99Ms,
    };
  } finally {
    await host.dispose();
  }
}

function line(one: Stretch): string {
  const admitted =
    one.admitPerSecond === null
      ? ''
      : `; ${Math.round(one.admitPerSecond)} admissions/s, ${one.admitKept?.toFixed(2)} of ` +
        `without, p99 ${one.admitP99Ms?.toFixed(1)} ms`;
  return (
    `${one.stretch}: ${Math.round(one.drainPerSecond)} events/s${admitted}; of the processor control ` +
    `${one.controlCpuMicrosPerEvent.toFixed(0)} µs and ${Math.round(one.controlBytesPerEvent)} bytes written an event, the sidecar ${Math.round(one.sidecarCpuMs)} ms in ${one.seconds.toFixed(1)} s`
  );
}

async function stretch(
  name: string,
  host: HostUnderLoad,
  run: { untilSeq: number; load?: { connections: number; requests: number; perSecond?: number } },
): Promise<Stretch> {
  const from = await position(host);
  const [controlMs, sidecarMs] = [host.cpuMs('control'), host.cpuMs('sidecar')];
  const written = host.writtenBytes('control');
  const startedMs = performance.now();
  let isOver = false;
  const admitting: Promise<LoadResult> | null =
    run.load === undefined ? null : host.admit({ ...run.load, isOver: () => isOver });
  let to = from;
  while (to < run.untilSeq) {
    await pause(POLL_MS);
    to = await position(host);
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  isOver = true;
  const result = await admitting;
  const events = to - from;
  return {
    stretch: name,
    events,
    drainPerSecond: events / seconds,
    admitPerSecond: result?.perSecond ?? null,
    admitKept: null,
    admitP99Ms: result?.p99Ms ?? null,
    controlCpuMicrosPerEvent: ((host.cpuMs('control') - controlMs) * 1_000) / events,
    controlBytesPerEvent: (host.writtenBytes('control') - written) / events,
    sidecarCpuMs: host.cpuMs('sidecar') - sidecarMs,
    seconds,
  };
}

async function position(host: HostUnderLoad): Promise<number> {
  return (await journalOf(host)).ackedSeq;
}

async function journalOf(host: HostUnderLoad): Promise<{ seq: number; ackedSeq: number }> {
  const sidecar = host.supervisor.openSidecarClient();
  try {
    return (await sidecar.status()).journal;
  } finally {
    await sidecar.close();
  }
}

async function untilReported(host: HostUnderLoad): Promise<void> {
  for (;;) {
    const { seq, ackedSeq } = await journalOf(host);
    if (ackedSeq >= seq) return;
    await pause(POLL_MS);
  }
}

/** With the sidecar down, written as it would have: whole lives, five entries each. */
async function fill(host: HostUnderLoad, { events, say }: DrainOptions): Promise<number> {
  const { supervisor } = host;
  const control = supervisor.openControlClient();
  const hostId = (await control.hosts({ limit: 1 })).items[0]?.hostId ?? '';
  await control.close();
  await supervisor.stop('sidecar');
  const journal = await openJournal(join(supervisor.files.sidecarDir, 'journal'), clock);
  if (journal.quarantine !== null) throw new Error(journal.quarantine);
  const from = journal.head().seq;
  const startedMs = performance.now();
  const lives = Math.ceil(events / ENTRIES_OF_A_LIFE);
  for (let done = 0; done < lives; done += LIVES_AT_ONCE) {
    const count = Math.min(LIVES_AT_ONCE, lives - done);
    await Promise.all(Array.from({ length: count }, (_, at) => live(journal, hostId, done + at)));
  }
  const backlog = journal.head().seq - from;
  await journal.close();
  say(`a backlog of ${backlog} entries, made in ${secondsSince(startedMs)} s`);
  await supervisor.start('sidecar');
  return backlog;
}

const secondsSince = (startedMs: number): string =>
  ((performance.now() - startedMs) / 1_000).toFixed(1);

async function live(journal: Journal, hostId: string, number: number): Promise<void> {
  const idempotencyKey = `drain-${number}`;
  const at = { now: clock.now(), random };
  const admission = benchAdmission(number, { hostId, app: 'demo', idempotencyKey }, at);
  const { operationId } = admission;
  await journal.admit(admission);
  const step = { attempt: 1, name: 'charge' } as const;
  const events = [
    { kind: 'start_attempt', supersede: false, key: null, ownership: null },
    { kind: 'begin_effect', ...step, key: null, ownership: null, recheck: null },
    { kind: 'settle_effect', ...step, outcome: 'succeeded', result: { receipt: idempotencyKey } },
    {
      kind: 'report_outcome',
      attempt: 1,
      outcome: 'succeeded',
      result: null,
      reason: null,
      ownership: null,
    },
  ] as const;
  for (const event of events) {
    const answer = await journal.submit({ type: 'apply', operationId, app: 'demo', event });
    if (answer.type !== 'applied') throw new Error(JSON.stringify(answer));
  }
}
