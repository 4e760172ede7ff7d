/**
 * Apps that go to the edges on purpose: more at once than a limit allows, and a value read just when it
 * expires. What they ask for is left to the workers.
 */
import { FakeRandom } from '../../fakes/fake-random.ts';
import type { Agenda } from '../engine/agenda.ts';
import { APP_TOKEN, type SidecarNode } from '../engine/sidecar-node.ts';
import type { Caller } from './caller.ts';
import { WORK } from './policies.ts';

type Parts = { readonly agenda: Agenda; readonly caller: Caller; readonly stretch: number };

const SHOP = { client: 'shop', token: APP_TOKEN };
const BURST_MAX = 7;
/** A part of the fleet’s budget is asked for with the first, and there may be a crash between. */
const WAVES = 3;
const WAVE_MS = 25_000;
const WATCH_MS = 6 * 60_000;
/** Looked at often enough to be there when a value expires, and then closely. */
const LOOK_MS = 20_000;
const CLOSE_MS = 150;
const CLOSE_LOOKS = 14;

export class Edges {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** As many as no limit of a host or of the fleet lets pass, on all of them within a moment. */
  async burst(hosts: readonly SidecarNode[], taskId: number, seed: number): Promise<void> {
    const random = new FakeRandom(seed);
    const { agenda, caller, stretch } = this.#parts;
    const { action } = random.unit() < 0.5 ? WORK.sample : WORK.share;
    const count = 4 + random.below(BURST_MAX - 3);
    const asked = hosts.flatMap((host) =>
      Array.from({ length: count * WAVES }, async (_, n) => {
        await agenda.sleep((n % WAVES) * WAVE_MS * stretch + random.below(4_000));
        const key = `burst-${taskId}-${n}`;
        const body = { principal: 'agent:billing', action };
        await caller.call(host, { kind: 'admit', key, body }, SHOP);
      }),
    );
    await Promise.all(asked);
  }

  /** A value that is read closely around the moment at which it stops to be good. */
  async expiry(host: SidecarNode, seed: number): Promise<void> {
    const { agenda, caller, stretch } = this.#parts;
    const lookMs = LOOK_MS * stretch;
    const name = new FakeRandom(seed).unit() < 0.5 ? 'shop.banner' : 'shop.weights';
    const request = { kind: 'config_value', name } as const;
    const endsMs = agenda.nowMs + WATCH_MS * stretch;
    while (agenda.nowMs < endsMs) {
      const read = await caller.call(host, request, SHOP);
      const leftMs = read.kind === 'ok' && !read.body.expired ? read.body.expiresInMs : lookMs * 2;
      if (leftMs > lookMs + CLOSE_MS) {
        await agenda.sleep(lookMs);
        continue;
      }
      await agenda.sleep(Math.max(0, leftMs - CLOSE_MS * 2));
      for (let looks = 0; looks < CLOSE_LOOKS; looks += 1) {
        await caller.call(host, request, SHOP);
        await agenda.sleep(CLOSE_MS);
      }
    }
  }
}
