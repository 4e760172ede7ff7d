/** What happens to the daemons while the orders are worked through, and when. */
import type { Supervisor } from '../../../control/cli/dev/supervisor.ts';
import type { Progress } from './progress.ts';

type Scene = { readonly atLine: number; readonly play: () => Promise<void> };

export class OutageScript {
  /** Wall time of control's death, and of its being ready again; 0 before. */
  readonly away = { aliveUntilMs: 0, fromMs: 0, toMs: 0 };
  /** From then on it may answer, before it is known to be ready. */
  startedAtMs = 0;
  readonly #supervisor: Supervisor;
  readonly #progress: Progress;
  readonly #scenes: Scene[];
  #played: Promise<void> = Promise.resolve();

  constructor(supervisor: Supervisor, progress: Progress, lines: number) {
    this.#supervisor = supervisor;
    this.#progress = progress;
    this.#scenes = [
      { atLine: Math.floor(lines / 3), play: () => this.#killControl() },
      { atLine: Math.floor(lines / 2), play: () => this.#killSidecar() },
      { atLine: Math.floor((lines * 2) / 3), play: () => this.#startControl() },
    ];
  }

  get isAway(): boolean {
    return this.away.fromMs > 0 && this.away.toMs === 0;
  }

  get stateOfControl(): string {
    if (!this.isAway) return 'control is in reach';
    return this.startedAtMs > 0 ? 'control is starting' : 'control is away';
  }

  /** Starts the scene that is due, one after the other, while the work goes on. */
  lineDone(done: number): void {
    const [next] = this.#scenes;
    if (next === undefined || done < next.atLine) return;
    this.#scenes.shift();
    this.#played = this.#played.then(next.play);
    // Whoever waits for the end gets the failure.
    this.#played.catch(() => undefined);
  }

  end(): Promise<void> {
    return this.#played;
  }

  async #killControl(): Promise<void> {
    this.away.aliveUntilMs = Date.now();
    await this.#supervisor.kill('control');
    this.away.fromMs = Date.now();
    this.#progress.say(
      'control was killed (SIGKILL): bounded work goes on, what must be fresh is refused',
    );
  }

  async #killSidecar(): Promise<void> {
    await this.#supervisor.kill('sidecar');
    this.#progress.say('the sidecar was killed as well (SIGKILL), with control still away');
    await this.#supervisor.start('sidecar');
    this.#progress.say('the sidecar serves again, from its own disk');
  }

  async #startControl(): Promise<void> {
    this.startedAtMs = Date.now();
    await this.#supervisor.start('control');
    this.away.toMs = Date.now();
    this.#progress.say('control was started again: the backlog of reports goes up');
  }
}
