/**
 * Whether control can be reached, as the last sync says. Only the synchronizer finds that out; the
 * others wait for its success, so that a control that comes back is met by one cheap request of
 * each host.
 */
export class Reach {
  #isOpen = false;
  readonly #waiting = new Set<() => void>();
  readonly #asking = new Set<() => void>();

  get isOpen(): boolean {
    return this.#isOpen;
  }

  set(isOpen: boolean): void {
    this.#isOpen = isOpen;
    if (!isOpen) return;
    for (const go of this.#waiting) go();
    for (const go of this.#asking) go();
  }

  /** Somebody answers a sync under a key that is not known here. */
  noteForeignKey(): void {
    for (const go of this.#asking) go();
  }

  /** Resolves when control is in reach, or when the daemon stops. */
  whenOpen(signal: AbortSignal): Promise<void> {
    return this.#whenWoken(this.#waiting, signal);
  }

  /**
   * As `whenOpen`, and with each sync that is answered under a key that is not known here: whoever
   * asks then asks once.
   */
  whenOpenOrForeign(signal: AbortSignal): Promise<void> {
    return this.#whenWoken(this.#asking, signal);
  }

  #whenWoken(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
    if (this.#isOpen || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const go = (): void => {
        waiting.delete(go);
        signal.removeEventListener('abort', go);
        resolve();
      };
      waiting.add(go);
      signal.addEventListener('abort', go, { once: true });
    });
  }
}
