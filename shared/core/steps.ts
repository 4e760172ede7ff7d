/**
 * Long computations that may be interrupted: a generator yields where others may have the thread,
 * and whoever runs it decides whether they get it. Whatever runs it, the result is the same.
 */
export type Steps<T> = Generator<void, T, void>;

/** All of them, without a pause. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
