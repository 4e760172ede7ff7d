/**
 * Signatures are made and checked on other threads, in real time. A test on a fake clock must let
 * them finish before it moves the clock, or a time-out passes while nothing but a signature was on
 * its way.
 */
let pending = 0;

const WATCHED = ['sign', 'verify', 'importKey', 'exportKey', 'generateKey', 'digest'] as const;

for (const name of WATCHED) {
  const original = crypto.subtle[name] as (...args: unknown[]) => Promise<unknown>;
  const watched = async (...args: unknown[]): Promise<unknown> => {
    pending += 1;
    try {
      return await original.apply(crypto.subtle, args);
    } finally {
      pending -= 1;
    }
  };
  Object.defineProperty(crypto.subtle, name, { value: watched, configurable: true });
}

/**
 * Rounds of the event loop without any signature on its way, after which all that could go on has.
 */
const QUIET_TURNS = 12;

export async function settleCrypto(): Promise<void> {
  await settleUntil(() => false, QUIET_TURNS);
}

/**
 * Looks after every round; gives up after `quietTurns` in a row in which no signature was on its
 * way.
 */
export async function settleUntil(isSo: () => boolean, quietTurns: number): Promise<boolean> {
  for (let quiet = 0; quiet < quietTurns; quiet = pending === 0 ? quiet + 1 : 0) {
    if (isSo()) return true;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return isSo();
}
