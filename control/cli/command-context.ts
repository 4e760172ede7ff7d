/**
 * What every command is given: the clients, the clock and the output, each made when first asked
 * for.
 */
import { ControlClient, SidecarClient, type Page } from '../../shared/client/index.ts';
import { UndiciTransport } from '../../shared/client/transport.ts';
import { parseDurationMs } from '../../shared/core/time.ts';
import { SystemClock, type Clock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import {
  connectionTo,
  type Connection,
  type ConnectionFlags,
  type DaemonName,
} from './connections.ts';
import { usageError } from './failures.ts';
import { Output, wantsColour, type Listed, type OutputFormat } from './output.ts';
import type { Surroundings } from './surroundings.ts';
import { ageText } from './time-text.ts';

export type GlobalFlags = ConnectionFlags & {
  readonly output: OutputFormat;
  readonly timeout: string;
  readonly color: boolean;
  readonly quiet?: boolean;
};

export class CommandContext {
  readonly surroundings: Surroundings;
  readonly clock: Clock = new SystemClock();
  readonly #readFlags: () => GlobalFlags;
  #output: Output | undefined;
  #control: ControlClient | undefined;
  #sidecar: SidecarClient | undefined;

  /** Flags are read late, because they are known only once the arguments are parsed. */
  constructor(surroundings: Surroundings, readFlags: () => GlobalFlags) {
    this.surroundings = surroundings;
    this.#readFlags = readFlags;
  }

  get output(): Output {
    if (this.#output === undefined) {
      const { stdout, stderr, env } = this.surroundings;
      const flags = this.#readFlags();
      const hasColour = wantsColour({ isAllowed: flags.color, stream: stdout, env });
      const isQuiet = flags.quiet === true;
      this.#output = new Output({ format: flags.output, hasColour, isQuiet, stdout, stderr });
    }
    return this.#output;
  }

  get timeoutMs(): number {
    const timeoutMs = durationFlag('--timeout', this.#readFlags().timeout);
    if (timeoutMs === 0) throw usageError('--timeout 0 leaves no time for an answer');
    return timeoutMs;
  }

  connection(daemon: DaemonName): Connection {
    return connectionTo(daemon, this.#readFlags(), this.surroundings);
  }

  get control(): ControlClient {
    if (this.#control === undefined) {
      const { target, token } = this.connection('control');
      const transport = new UndiciTransport(target);
      this.#control = new ControlClient({
        transport,
        token: () => token,
        timeoutMs: this.timeoutMs,
      });
    }
    return this.#control;
  }

  get sidecar(): SidecarClient {
    if (this.#sidecar === undefined) {
      const { target, token } = this.connection('sidecar');
      this.#sidecar = new SidecarClient({
        transport: new UndiciTransport(target),
        clock: this.clock,
        random: new SystemRandom(),
        token: () => token,
        timeoutMs: this.timeoutMs,
      });
    }
    return this.#sidecar;
  }

  /** How long ago, for a table. */
  age(wallMs: number | null): string {
    return wallMs === null ? '-' : ageText(Math.max(0, this.clock.now().wallMs - wallMs));
  }

  async close(): Promise<void> {
    await Promise.all([this.#control?.close(), this.#sidecar?.close()]);
  }
}

export function durationFlag(flag: string, text: string): number {
  const durationMs = parseDurationMs(text);
  if (durationMs === null)
    throw usageError(`${flag} ${text} is not a duration: write it with a unit, as 500ms, 5s, 2m`);
  return durationMs;
}

/** What one request may ask for. */
const PAGE_ITEMS_MAX = 500;

/** As many items as asked for, over as many requests as that takes. */
export async function collectPages<T>(
  fetchPage: (query: { limit: number; cursor?: string }) => Promise<Page<T>>,
  wanted: { readonly limit: number; readonly cursor?: string },
): Promise<Listed<T>> {
  const items: T[] = [];
  let cursor = wanted.cursor;
  for (;;) {
    const limit = Math.min(PAGE_ITEMS_MAX, wanted.limit - items.length);
    const page = await fetchPage({ limit, ...(cursor === undefined ? {} : { cursor }) });
    items.push(...page.items);
    const { nextCursor } = page;
    if (nextCursor === null || items.length >= wanted.limit || page.items.length === 0) {
      return { items, nextCursor };
    }
    cursor = nextCursor;
  }
}

/**
 * For the lists of the sidecar that have no pages: it gives the newest, at most `PAGE_ITEMS_MAX`.
 */
export async function newestOnly<T>(
  fetchNewest: (limit: number) => Promise<readonly T[]>,
  wanted: { readonly limit: number; readonly cursor?: string },
): Promise<Listed<T>> {
  if (wanted.cursor !== undefined) {
    throw usageError('--cursor has no meaning here: the sidecar gives its newest in one answer');
  }
  return { items: await fetchNewest(Math.min(PAGE_ITEMS_MAX, wanted.limit)), nextCursor: null };
}
