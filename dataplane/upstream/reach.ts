/**
 * Whether control can be reached, as the last sync says. Only the synchronizer finds that out; the
 * others wait for its success, so that a control that comes back is met by one cheap request of
 * each host.
 */
export class Reach {
  #isOpen = false;
  readonly #waiting = new Set<() => void>();

  get isOpen(): boolean {
    return this.#isOpen;
  }

  set(isOpen: boolean): void {
    this.#isOpen = isOpen;
    if (!isOpen) return;
    for (const go of this.#waiting) go();
  }

  /** Resolves when control is in reach, or when the daemon stops. */
  whenOpen(signal: AbortSignal): Promise<void> {
    if (this.#isOpen || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const go = (): void => {
        this.#waiting.delete(go);
        signal.removeEventListener('abort', go);
        resolve();
      };
      this.#waiting.add(go);
      signal.addEventListener('abort', go, { once: true });
    });
  }
}
