/**
 * What is done after each crash: the record is compared with what clients were told, what they were
 * not told is asked again under the same keys, and the record is compared once more.
 */
import { checkFences } from './check/check-fences.ts';
import { EMPTY_CHAIN, type ChainHead } from './check/check-journal.ts';
import { checkOperations } from './check/check-operations.ts';
import type { Lie } from './check/lie.ts';
import { readJournal, readOperations } from './check/read-journal.ts';
import type { FakeRandom } from '../fakes/fake-random.ts';
import { callsByKey, isOpen, keyOf, type Call, type History } from './history/history.ts';
import { Workload, type Work } from './history/workload.ts';
import type { WorkTarget } from './history/work-target.ts';

/** Of what was acknowledged, how much is asked again after each crash. */
const REPLAYED_MAX = 20;
const RETRY_CLIENTS = 8;

export class Verifier {
  readonly lies: Lie[] = [];
  readonly #history: History;
  readonly #journalPath: string;
  readonly #random: FakeRandom;
  #head: ChainHead = EMPTY_CHAIN;
  #retried = 0;
  #replayed = 0;

  constructor(parts: { history: History; journalPath: string; random: FakeRandom }) {
    this.#history = parts.history;
    this.#journalPath = parts.journalPath;
    this.#random = parts.random;
  }

  get retried(): number {
    return this.#retried;
  }

  get replayed(): number {
    return this.#replayed;
  }

  /** Of all work that was asked for. */
  keys(): ReadonlySet<string> {
    return new Set(this.#history.calls.flatMap(({ request }) => keyOf(request) ?? []));
  }

  /** Entries of the journal that were walked and whose hashes were made anew. */
  get entries(): number {
    return this.#head.seq;
  }

  /** Begins with an empty journal: a new one took the place of the old. */
  forget(): void {
    this.#head = EMPTY_CHAIN;
  }

  /** Once the subject serves again: `begun` is the work of the time before the crash. */
  async afterCrash(target: WorkTarget, begun: readonly Work[]): Promise<void> {
    this.#checkNewEntries();
    this.#checkWork(begun);
    await this.#askAgain(target, begun);
    this.#checkNewEntries();
    this.#checkWork(begun);
  }

  /** All of the campaign, from the first entry on. */
  checkAll(): void {
    const view = readJournal(this.#journalPath, EMPTY_CHAIN);
    this.#add([
      ...view.lies,
      ...checkOperations(this.#history.calls, view.operations),
      ...checkFences(this.#history.calls, view.fences),
    ]);
  }

  #checkNewEntries(): void {
    const view = readJournal(this.#journalPath, this.#head);
    const asked = new Set(this.#history.calls.map(({ request }) => keyOf(request)));
    const invented = view.operations.filter(({ idempotencyKey }) => !asked.has(idempotencyKey));
    this.#add([
      ...view.lies,
      ...checkOperations([], invented),
      ...checkFences(this.#history.calls, view.fences),
    ]);
    this.#head = view.head;
  }

  #checkWork(begun: readonly Work[]): void {
    const keys = new Set(begun.map(({ key }) => key));
    this.#add(checkOperations(this.#callsOf(keys), readOperations(this.#journalPath, keys)));
  }

  #callsOf(keys: ReadonlySet<string>): Call[] {
    return this.#history.calls.filter(({ request }) => keys.has(keyOf(request) ?? ''));
  }

  async #askAgain(target: WorkTarget, begun: readonly Work[]): Promise<void> {
    const calls = callsByKey(this.#callsOf(new Set(begun.map(({ key }) => key))));
    const open = begun.filter(({ key }) => calls.get(key)?.some(isOpen));
    const known = begun.filter((work) => !open.includes(work));
    const again = Array.from({ length: Math.min(REPLAYED_MAX, known.length) }, () => {
      const work = known[this.#random.below(known.length)];
      if (work === undefined) throw new Error('nothing is known');
      return work;
    });
    this.#retried += open.length;
    this.#replayed += again.length;
    const workload = new Workload({
      target,
      history: this.#history,
      random: this.#random.fork(),
      prefix: 'again-0',
    });
    const queue = [...open, ...again];
    const ask = async (): Promise<void> => {
      for (let work = queue.shift(); work !== undefined; work = queue.shift()) {
        if (!(await workload.perform(work)))
          throw new Error(`no answer about ${work.key} from a subject that is well`);
      }
    };
    await Promise.all(Array.from({ length: RETRY_CLIENTS }, ask));
  }

  /** The same lie is found again at each look: it is told once. */
  #add(lies: readonly Lie[]): void {
    for (const found of lies) {
      const isKnown = this.lies.some(
        ({ kind, about, detail }) =>
          kind === found.kind && about === found.about && detail === found.detail,
      );
      if (!isKnown) this.lies.push(found);
    }
  }
}
