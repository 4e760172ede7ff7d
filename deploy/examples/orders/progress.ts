/** What the demo says while it runs: a bar that is redrawn on a terminal, plain lines elsewhere. */

const WIDTH = 28;

export class Progress {
  readonly #total: number;
  readonly #stream: NodeJS.WriteStream;
  readonly #startedMs = performance.now();
  #told = 0;

  constructor(total: number, stream: NodeJS.WriteStream) {
    this.#total = total;
    this.#stream = stream;
  }

  /** `state` is what a reader wants beside the count, as `control down`. */
  update(done: number, state: string): void {
    const part = done / this.#total;
    if (this.#stream.isTTY) {
      const filled = Math.round(part * WIDTH);
      this.#stream.write(
        `\r\u001B[K  [${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${done}/${this.#total}  ${state}`,
      );
      return;
    }
    const tenth = Math.floor(part * 10);
    if (tenth <= this.#told) return;
    this.#told = tenth;
    this.say(`${String(tenth * 10).padStart(3)}%  ${done}/${this.#total} lines  ${state}`);
  }

  say(text: string): void {
    const seconds = ((performance.now() - this.#startedMs) / 1_000).toFixed(1).padStart(5);
    this.#stream.write(`${this.#stream.isTTY ? '\r\u001B[K' : ''}${seconds}s  ${text}\n`);
  }
}
