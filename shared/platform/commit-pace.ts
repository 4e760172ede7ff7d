/** When a store that gathers writes commits them. A port, so that a test can say when. */
export type CommitPace = {
  /** Once what is ready now has had its turn. */
  soon(commit: () => void): void;
  /** After `delayMs`, unless it is called off. It does not keep the process alive. */
  later(delayMs: number, commit: () => void): { cancel(): void };
};

export const SYSTEM_PACE: CommitPace = {
  soon: (commit) => void setImmediate(commit),
  later(delayMs, commit) {
    const timeout = setTimeout(commit, delayMs);
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  },
};
