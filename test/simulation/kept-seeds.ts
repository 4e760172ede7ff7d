/**
 * The file of a long campaign: what came of each seed, a line of JSON for each, so that one which was
 * stopped goes on where it stood.
 *
 * KS1 Only seeds of the same code and the same length are added up: the first line says which.
 * KS2 A line that was cut off is as if it had not been written: its seed is run again.
 */
import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import type { Pace } from './plan.ts';
import type { FromWorker } from './worker.ts';

export type KeptHead = {
  readonly commit: string;
  readonly minutes: number;
  readonly pace: Pace;
};

export class KeptError extends Error {
  override name = 'KeptError';
}

export class KeptSeeds {
  readonly #path: string;
  readonly #answers = new Map<number, FromWorker>();

  /** Begins the file, or goes on with it. Throws a `KeptError` where it is of something else (KS1). */
  constructor(path: string, head: KeptHead) {
    this.#path = path;
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole === '') {
      writeFileSync(path, `${JSON.stringify(head)}\n`);
      return;
    }
    const [first, ...lines] = whole.trimEnd().split('\n');
    if (first !== JSON.stringify(head))
      throw new KeptError(
        `${path} is of ${first}, and this is ${JSON.stringify(head)}: name another file, or the same campaign`,
      );
    for (const line of lines) {
      const answer = JSON.parse(line) as FromWorker;
      this.#answers.set(answer.kind === 'judged' ? answer.judged.seed : answer.seed, answer);
    }
    // KS2
    if (whole.length < text.length) truncateSync(path, Buffer.byteLength(whole));
  }

  of(seed: number): FromWorker | null {
    return this.#answers.get(seed) ?? null;
  }

  add(answer: FromWorker): void {
    appendFileSync(this.#path, `${JSON.stringify(answer)}\n`);
  }
}
