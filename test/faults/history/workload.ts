/**
 * Concurrent clients, each with work of its own under unique keys: admissions, attempts, effects,
 * checkpoints, outcomes, cancellations and fencing tokens. What one piece of work does follows from
 * its key alone, so that it can be taken up again after a crash and asks exactly the same.
 */
import { FakeRandom } from '../../fakes/fake-random.ts';
import type { CallAnswer, CallEnd, CallRequest, History } from './history.ts';
import { endOfError, type WorkTarget } from './work-target.ts';

export type Work = { readonly key: string; readonly seed: number };

/** The effects that the policy of the campaigns declares. */
export const ONCE_EFFECT = 'charge';
export const IDEMPOTENT_EFFECT = 'notify';

const FENCES = 4;
const REPLAY_SHARE = 0.05;
const TWIN_SHARE = 0.05;
const FENCE_SHARE = 0.1;

export class Workload {
  readonly #target: WorkTarget;
  readonly #history: History;
  readonly #random: FakeRandom;
  readonly #prefix: string;
  readonly #begun: Work[] = [];
  #count = 0;
  #isStopped = false;
  #running: Promise<unknown> | null = null;

  constructor(parts: {
    target: WorkTarget;
    history: History;
    random: FakeRandom;
    /** Of the keys: unique over the campaign. */
    prefix: string;
  }) {
    this.#target = parts.target;
    this.#history = parts.history;
    this.#random = parts.random;
    this.#prefix = parts.prefix;
  }

  get begun(): readonly Work[] {
    return this.#begun;
  }

  start(clients: number): void {
    this.#running = Promise.all(Array.from({ length: clients }, () => this.#client()));
  }

  /** Resolves when no client waits for an answer any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #client(): Promise<void> {
    while (!this.#isStopped) {
      if (this.#random.unit() < FENCE_SHARE) {
        if (!(await this.#fence())) return;
        continue;
      }
      const replayed = this.#random.unit() < REPLAY_SHARE ? this.#someBegun() : undefined;
      const work = replayed ?? this.#newWork();
      if (!(await this.perform(work))) return;
    }
  }

  #newWork(): Work {
    this.#count += 1;
    const work = { key: `${this.#prefix}-${this.#count}`, seed: this.#random.below(2 ** 31) };
    this.#begun.push(work);
    return work;
  }

  #someBegun(): Work | undefined {
    return this.#begun[this.#random.below(this.#begun.length)];
  }

  async #fence(): Promise<boolean> {
    this.#count += 1;
    const resource = `${this.#prefix.split('-', 1)[0]}/${this.#random.below(FENCES)}`;
    // Mostly rising, at times behind: then it is refused, or the token went back.
    const epoch = Math.max(1, this.#epochBase() + this.#random.below(6) - 2);
    return this.#isAnswered(await this.#call({ kind: 'check_fence', resource, epoch }));
  }

  #epochBase(): number {
    return Number(this.#prefix.split('-').at(-1)) * 100_000 + this.#count;
  }

  /** `false` when the target gives no answers any more: there is no use in asking on. */
  async perform({ key, seed }: Work): Promise<boolean> {
    const random = new FakeRandom(seed);
    const admit: CallRequest = { kind: 'admit', key, amount: 1 + random.below(500) };
    const isTwin = random.unit() < TWIN_SHARE;
    const [first, twin] = await Promise.all([
      this.#call(admit),
      isTwin ? this.#call(admit) : Promise.resolve(null),
    ]);
    if (first.kind !== 'ok') return this.#isAnswered(first);
    if (twin !== null && twin.kind === 'info') return false;
    let known = first.answer;
    for (const step of stepsOf(key, random)) {
      const end = await this.#call(step, known);
      if (end.kind !== 'ok') return this.#isAnswered(end);
      if (step.kind === 'start_attempt') known = end.answer;
    }
    return true;
  }

  #isAnswered(end: CallEnd): boolean {
    return end.kind !== 'info';
  }

  async #call(
    request: CallRequest,
    known: CallAnswer = { operationId: '', replayed: false, attempt: 0 },
  ): Promise<CallEnd> {
    const call = this.#history.invoke(request);
    let end: CallEnd;
    try {
      end = { kind: 'ok', answer: await this.#target.perform(request, known) };
    } catch (error) {
      end = endOfError(error);
    }
    this.#history.end(call, end);
    return end;
  }
}

/** Some of it stops half-way: a crash must find work in every state. */
function stepsOf(key: string, random: FakeRandom): CallRequest[] {
  const kind = random.unit();
  if (kind < 0.15) return [];
  if (kind < 0.2) return [{ kind: 'cancel', key }];
  const outcome = random.unit() < 0.8 ? 'succeeded' : 'failed';
  const steps: CallRequest[] = [{ kind: 'start_attempt', key, token: `attempt-of-${key}` }];
  if (random.unit() < 0.3)
    steps.push({ kind: 'save_checkpoint', key, checkpoint: `checkpoint of ${key}` });
  const effects = [ONCE_EFFECT, IDEMPOTENT_EFFECT].filter(() => random.unit() < 0.7);
  const begins = effects.map((effect): CallRequest => {
    return { kind: 'begin_effect', key, effect, token: `${effect}-of-${key}` };
  });
  const settles = effects.map((effect): CallRequest => {
    return {
      kind: 'settle_effect',
      key,
      effect,
      outcome: 'succeeded',
      result: `${effect} receipt of ${key}`,
    };
  });
  // They succeed: one that failed may be begun again, and an effect begun twice is what is looked for.
  // Side by side at times, and one after the other.
  if (random.unit() < 0.5) steps.push(...begins, ...settles);
  else for (const [at, begin] of begins.entries()) steps.push(begin, ...settles.slice(at, at + 1));
  steps.push({ kind: 'report_outcome', key, outcome, result: `result of ${key}` });
  return random.unit() < 0.25 ? steps.slice(0, 1 + random.below(steps.length)) : steps;
}
