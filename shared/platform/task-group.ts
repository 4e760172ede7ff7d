/**
 * Runs the loops of a daemon. The first that fails aborts the others; `run` waits for all of them
 * and throws the first failure. A loop that returns while nobody asked it to stop is a failure too.
 */
export type Task = { readonly name: string; readonly run: (signal: AbortSignal) => Promise<void> };

export async function runTasks(tasks: readonly Task[], signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const combined = AbortSignal.any([signal, stop.signal]);
  const failures: Error[] = [];
  await Promise.all(
    tasks.map(async ({ name, run }) => {
      try {
        await run(combined);
        if (!combined.aborted) throw new Error(`task ${name} ended by itself`);
      } catch (error) {
        failures.push(error instanceof Error ? error : new Error(String(error)));
        stop.abort();
      }
    }),
  );
  const [first] = failures;
  if (first !== undefined) throw first;
}
