/**
 * Answers to syncs at a sidecar: damaged on the way, refused by others than control, or signed by
 * control and not what an answer is.
 *
 * S1  What control did not sign confirms nothing, grants nothing and withdraws nothing: staleness goes
 *     on, and what is held stays as it was.
 * S2  What control signed is obeyed or refused, without an exception that has no code.
 * S3  The revision in force never goes down, and a good answer mends everything.
 */
import type { LeaseKeeper } from '../../dataplane/authority/lease-keeper.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import { STATEMENT_CONTENT_TYPE } from '../../shared/wire/statements.ts';
import type { TransportResponse } from '../../shared/client/transport.ts';
import { SYNC_INTERVAL_MS, type UpstreamWorld } from '../fakes/upstream-world.ts';
import type { Behaviour } from '../fakes/fake-control.ts';
import { fuzzCases, type Case } from './cases.ts';
import { ODD_TEXTS, type Draw } from './draw.ts';
import { Tally, type Fuzzer, type FuzzOptions, type FuzzReport } from './fuzzer.ts';
import { damageStatement } from './statement-damage.ts';
import { asReceived, breakValue } from './values/broken-value.ts';
import type { Json } from './values/from-schema.ts';
import { Worlds } from './worlds.ts';

const HEAL_BOUND_MS = 180_000;
const RESOURCE = 'orders/1';

export const sync: Fuzzer = {
  name: 'sync',
  about: 'answers to syncs at a sidecar, damaged on the way and by control itself',
  casesAtFirst: 1_000,
  run: async (options) => new SyncRun(options).run(),
};

type Drawn = { readonly behaviour: Behaviour; readonly isSigned: boolean; readonly name: string };

class SyncRun {
  readonly #options: FuzzOptions;
  readonly #tally = new Tally();
  readonly #worlds: Worlds;

  constructor(options: FuzzOptions) {
    this.#options = options;
    this.#worlds = new Worlds(options.undo, this.#tally, async (world) => {
      world.upstream.leases.want(RESOURCE);
      await world.pass(SYNC_INTERVAL_MS);
    });
  }

  async run(): Promise<FuzzReport> {
    const kind = { name: 'sync', counted: 'answers to syncs', tally: this.#tally };
    const report = await fuzzCases(this.#options, kind, (its) => this.#case(its));
    await this.#worlds.close();
    return report;
  }

  async #case({ draw, find: findIn }: Case): Promise<void> {
    const world = await this.#worlds.open();
    let input: unknown = null;
    const find = (detail: string): void => findIn(detail, input);
    const before = {
      revision: world.revision() ?? 0,
      staleness: world.staleness(),
      wasRevoked: world.upstream.policy.revoked(),
    };
    const asked = world.control.count('sync');
    const drawn = this.#draw(draw, (said) => {
      input = said;
    });
    world.control.behave('sync', drawn.behaviour);
    try {
      await world.passUntil(() => world.control.count('sync') > asked, 'another sync');
      await world.settle();
      this.#tally.add(drawn.name);
      if ((world.revision() ?? 0) < before.revision) find('S3: the revision went down');
      if (!drawn.isSigned) this.#checkUnbelieved(world, before, find);
      world.control.behave('sync', null);
      await world.passUntil(() => isMended(world), 'a good answer mends it', HEAL_BOUND_MS);
      if ((world.revision() ?? 0) < before.revision) find('S3: the revision went down');
    } catch (error) {
      const end = await endOf(world);
      if (end !== null && isCoded(end)) this.#tally.add('ended with a code');
      else find(`S2: ${text(end ?? error)}`);
      await this.#worlds.leave();
      return;
    }
    const end = await endOf(world);
    if (end === null) return;
    if (isCoded(end)) this.#tally.add('ended with a code');
    else find(`S2: ${text(end)}`);
    await this.#worlds.leave();
  }

  /** S1. */
  #checkUnbelieved(
    world: UpstreamWorld,
    before: { staleness: number | null; wasRevoked: unknown },
    find: (detail: string) => void,
  ): void {
    const staleness = world.staleness();
    if (before.staleness !== null && (staleness === null || staleness < before.staleness))
      find(`S1: staleness ${staleness} after ${before.staleness}`);
    if (before.wasRevoked === null && world.upstream.policy.revoked() !== null)
      find('S1: authority was withdrawn');
    const epochs = [...world.control.leases.values()].map(({ epoch }) => epoch);
    const highest = Math.max(0, ...epochs);
    if ((world.upstream.leases as LeaseKeeper).highestEpoch() > highest)
      find('S1: an epoch that control never gave');
  }

  #draw(draw: Draw, note: (said: unknown) => void): Drawn {
    const name = draw.weighted([
      [4, 'signed, another content'],
      [4, 'damaged on the way'],
      [2, 'refusal, altered'],
      [1, 'refusal, not signed'],
      [1, 'replayed'],
      [1, 'foreign key'],
      [3, 'another answer'],
    ] as const);
    switch (name) {
      case 'signed, another content': {
        const alter = (payload: Record<string, unknown>): unknown => {
          const said = asReceived(breakValue(payload as Json, draw));
          note(said);
          return said;
        };
        return { name, isSigned: true, behaviour: { kind: 'alter', alter } };
      }
      case 'damaged on the way': {
        const damage = (body: string): string => {
          const damaged = damageStatement(body, draw);
          note(damaged);
          return damaged;
        };
        return { name, isSigned: false, behaviour: { kind: 'damage', damage } };
      }
      case 'refusal, altered':
        return { name, isSigned: false, behaviour: alteredRefusal(draw, note) };
      case 'refusal, not signed': {
        const signed = draw.one(['not', 'by_foreign_key'] as const);
        note(signed);
        return {
          name,
          isSigned: false,
          behaviour: { kind: 'refuse', code: 'host_unknown', signed },
        };
      }
      case 'replayed':
        return { name, isSigned: false, behaviour: { kind: 'replay' } };
      case 'foreign key':
        return { name, isSigned: false, behaviour: { kind: 'foreign_key' } };
      case 'another answer':
        return { name, isSigned: false, behaviour: anotherAnswer(draw, note) };
    }
  }
}

type Note = (said: unknown) => void;

/** About another request, or of another kind, than the one that it answers. */
function alteredRefusal(draw: Draw, note: Note): Behaviour {
  const code = draw.one([
    'host_unknown',
    'forbidden',
    'host_epoch_stale',
    'unauthenticated',
  ] as const);
  const alter = (said: object): unknown => {
    const [key, value] = draw.one([
      ['nonce', 'x'.repeat(20)],
      ['hostId', 'host_other'],
      ['tokenSha256', '0'.repeat(64)],
      ['code', 'internal'],
      ['status', 200],
      ['nonce', null],
    ] as const);
    const altered = { ...said, [key]: value };
    note(altered);
    return altered;
  };
  return { kind: 'refuse', code, signed: { alter } };
}

/** As a proxy, a portal or a stranger gives it. */
function anotherAnswer(draw: Draw, note: Note): Behaviour {
  const response: TransportResponse = {
    status: draw.one([200, 200, 204, 301, 304, 400, 401, 403, 404, 418, 429, 500, 503, 599]),
    headers: {
      'content-type': draw.one([
        STATEMENT_CONTENT_TYPE,
        'text/html',
        'application/problem+json',
        '',
      ]),
      'retry-after': draw.one(['1', '-1', '999999999999', 'x', '']),
      'holdfast-statement': draw.one(['', 'a.b.c', '..']),
    },
    body: draw.one([
      '',
      'null',
      '{}',
      '[]',
      '{"code":"host_unknown"}',
      ...ODD_TEXTS,
      'x'.repeat(100_000),
    ]),
  };
  note(response);
  return { kind: 'respond', response };
}

function isMended(world: UpstreamWorld): boolean {
  const staleness = world.staleness();
  return (
    staleness !== null && staleness < SYNC_INTERVAL_MS && world.upstream.policy.revoked() === null
  );
}

/** With what its tasks ended, or `null`. */
async function endOf(world: UpstreamWorld): Promise<unknown> {
  const running = Symbol('running');
  const ended = world.running.then(
    () => null,
    (error: unknown) => error,
  );
  const now = new Promise((resolve) => setImmediate(() => resolve(running)));
  const first = await Promise.race([ended, now]);
  return first === running ? null : first;
}

/** A sidecar ends by itself where its journal cannot be the one that control knows. */
function isCoded(error: unknown): boolean {
  return error instanceof HoldfastError || error instanceof StoreError;
}

function text(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
