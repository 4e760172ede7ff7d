/**
 * What a daemon of a test gets from the environment here, besides what it is told: where programs are, and
 * where compiled code is kept, without which half of each start is to compile the same files again.
 */
export function bareEnvironment(): Record<string, string> {
  const { PATH = '', NODE_COMPILE_CACHE } = process.env;
  return NODE_COMPILE_CACHE === undefined ? { PATH } : { PATH, NODE_COMPILE_CACHE };
}
