/**
 * The side of the apps that sidecars ask about what they do not know. It looks into the ledgers of the
 * targets, so that what it says is true: all was done, or nothing was, and then nothing is taken any
 * more; of what was done in part it says that it does not know. Messages are lost and late, and now
 * and then it is broken.
 */
import { NEVER, type Life } from '../engine/life.ts';
import type { Agenda } from '../engine/agenda.ts';
import type { HistoryLog } from '../engine/history-log.ts';
import type { MachineClock } from '../engine/machine-clock.ts';
import type { ProbeCall, ProbeCaller, ProbeReply } from '../../../shared/platform/http-probe.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import type { EventDraft } from '../history.ts';
import { EFFECTS, WORK, type WorkKind } from './policies.ts';
import type { Targets } from './targets.ts';

/** Under which policies name it, and sidecars may ask it. */
export const PROBED_HOST = 'apps.test';

const LOST_SHARE = 0.15;
const BROKEN_SHARE = 0.1;
const WAY_MS_MAX = 400;
/** Beyond the time that a sidecar waits. */
const LATE_MS = 6_000;
const LATE_SHARE = 0.1;

type Question = {
  readonly operationId: string;
  readonly action: string;
  readonly try: number;
};
type Outcome = Extract<EventDraft, { kind: 'probe_answered' }>['outcome'];

export class Probes {
  readonly #agenda: Agenda;
  readonly #log: HistoryLog;
  readonly #targets: Targets;
  readonly #random: FakeRandom;

  constructor(parts: { agenda: Agenda; log: HistoryLog; targets: Targets; random: FakeRandom }) {
    this.#agenda = parts.agenda;
    this.#log = parts.log;
    this.#targets = parts.targets;
    this.#random = parts.random;
  }

  /** For one life of the sidecar of that machine. */
  caller(machine: MachineClock, life: Life): ProbeCaller {
    return {
      call: (call) => {
        life.used();
        return life.isAlive ? this.#call(machine, call) : NEVER;
      },
      close: () => Promise.resolve(),
    };
  }

  #call(machine: MachineClock, call: ProbeCall): Promise<ProbeReply> {
    const agenda = this.#agenda;
    const { timeoutMs, signal } = call;
    return new Promise((resolve) => {
      const giveUp = (detail: string): void => resolve({ kind: 'no_answer', detail });
      signal.addEventListener('abort', () => giveUp('the sidecar stops'), { once: true });
      agenda.after(timeoutMs, () => giveUp(`it gave no answer in ${timeoutMs} ms`));
      const back = (reply: ProbeReply): void => {
        if (!this.#isLost())
          this.#deliver(machine, agenda.nowMs + this.#wayMs(), () => resolve(reply));
      };
      if (this.#isLost()) return;
      const askedMs = agenda.nowMs;
      agenda.after(this.#wayMs(), () => back(this.#answer(machine.name, call, askedMs)));
    });
  }

  #isLost(): boolean {
    return this.#random.unit() < LOST_SHARE;
  }

  #wayMs(): number {
    const random = this.#random;
    return 1 + random.below(WAY_MS_MAX) + (random.unit() < LATE_SHARE ? LATE_MS : 0);
  }

  /** A machine that stands still takes it when it runs again. */
  #deliver(machine: MachineClock, atMs: number, tell: () => void): void {
    const agenda = this.#agenda;
    agenda.at(atMs, () => {
      const { suspendedUntilMs } = machine;
      if (suspendedUntilMs > agenda.nowMs) this.#deliver(machine, suspendedUntilMs, tell);
      else tell();
    });
  }

  #answer(host: string, { body }: ProbeCall, askedMs: number): ProbeReply {
    if (this.#random.unit() < BROKEN_SHARE)
      return { kind: 'answered', status: 500, body: '{"outcome":"failed"}' };
    const { operationId, action, try: number } = JSON.parse(body ?? '{}') as Question;
    const outcome = this.#outcome(operationId, action);
    this.#log.add({ kind: 'probe_answered', host, operationId, number, askedMs, outcome });
    const evidence = { ledger: outcome };
    return { kind: 'answered', status: 200, body: JSON.stringify({ outcome, evidence }) };
  }

  #outcome(operationId: string, action: string): Outcome {
    const kind = (Object.keys(WORK) as WorkKind[]).find((one) => WORK[one].action === action);
    const effects = kind === undefined ? [] : EFFECTS[kind];
    const done = effects.filter((effect) => this.#targets.hasTaken(operationId, effect));
    if (done.length > 0) return done.length === effects.length ? 'succeeded' : 'unknown';
    this.#targets.close(operationId);
    return 'failed';
  }
}
