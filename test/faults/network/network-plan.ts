/**
 * What is done to the network, and which daemon is killed, in each cycle. A cycle follows from the seed and
 * its number alone, so that one that failed is done again by `--seed N --from K --cycles 1`; the timing of
 * processes is not repeated.
 */
import { FakeRandom } from '../../fakes/fake-random.ts';
import type { Wire } from '../inject/chaos-proxy.ts';

export type NetworkCycle = {
  readonly fault: string;
  readonly wire: Partial<Wire>;
  /** A revision is published while the wire is bad. */
  readonly publishes: boolean;
  readonly badMs: number;
  /** Killed before the wire is well again. */
  readonly killed: 'control' | 'sidecar' | null;
};

const BAD_MS = { least: 600, most: 3_000 };
const PUBLISH_SHARE = 0.5;
const KILL_SHARE = 0.25;
const GOLDEN = 0x9e3779b9;

export const NETWORK_FAULTS: readonly (readonly [fault: string, wire: Partial<Wire>])[] = [
  ['latency', { latencyMs: 120 }],
  ['jitter', { latencyMs: 20, jitterMs: 400 }],
  ['reset in the middle of answers', { resetAfterBytes: 700 }],
  ['half-open', { isHalfOpen: true }],
  ['cut on the way up', { up: false }],
  ['cut on the way down', { down: false }],
  ['cut both ways', { up: false, down: false }],
  ['throttled', { bytesPerSecond: 4_096 }],
  ['garbage', { garbageShare: 0.5 }],
];

/** The first is 1. */
export function networkCycle(seed: number, number: number): NetworkCycle {
  const random = new FakeRandom(Math.imul(seed + 1, GOLDEN) ^ number).fork();
  const [fault, wire] = NETWORK_FAULTS[(number - 1) % NETWORK_FAULTS.length] ?? ['none', {}];
  const publishes = random.unit() < PUBLISH_SHARE;
  const badMs = BAD_MS.least + random.below(BAD_MS.most - BAD_MS.least);
  const kills = random.unit() < KILL_SHARE;
  const other = random.unit() < 0.5 ? 'control' : 'sidecar';
  return { fault, wire, publishes, badMs, killed: kills ? other : null };
}
