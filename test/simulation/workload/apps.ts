/**
 * Apps at work on one host: they ask for work to be accepted, carry it out, and ask again with the
 * same key where they were not told. Each task draws from its own seed, so that leaving one out
 * changes no other.
 */
import type { Attempt } from '../../../shared/wire/sidecar-api.ts';
import { FakeRandom } from '../../fakes/fake-random.ts';
import type { CallKind, CallRequest } from '../history.ts';
import type { Agenda } from '../engine/agenda.ts';
import type { HistoryLog } from '../engine/history-log.ts';
import { APP_TOKEN, OTHER_APP_TOKEN, type SidecarNode } from '../engine/sidecar-node.ts';
import type { Called, Caller } from './caller.ts';
import { EFFECTS, SHARDS, WORK, type WorkKind } from './policies.ts';
import type { Targets } from './targets.ts';

type Parts = {
  readonly agenda: Agenda;
  readonly log: HistoryLog;
  readonly caller: Caller;
  readonly targets: Targets;
  /** Numbers the faults that are made here: workers that die. */
  readonly nextFaultId: () => number;
  /** How many times as long everybody takes. */
  readonly stretch: number;
};

type Client = { readonly client: string; readonly token: string };
const SHOP: Client = { client: 'shop', token: APP_TOKEN };
const DESK: Client = { client: 'desk', token: OTHER_APP_TOKEN };

const PATIENCE_TRIES = 6;
/** What a claim waits for work. */
const CLAIM_WAITS_MS = 20_000;
const HEARTBEAT_MS = 6_000;
const WORK_KINDS = Object.keys(WORK) as WorkKind[];
/** Codes by which a worker knows that this attempt is not for it any more. */
const KIND_WEIGHTS: Readonly<Record<WorkKind, number>> = {
  capture: 5,
  post: 4,
  notify: 2,
  wipe: 2,
  transfer: 2,
  report: 3,
  sample: 0,
  share: 0,
};

export class Apps {
  readonly #parts: Parts;
  /** While it is so, nobody dies on purpose any more. */
  isCalm = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** One piece of work, from its asking to its end. */
  async order(host: SidecarNode, taskId: number, seed: number): Promise<void> {
    const random = new FakeRandom(seed);
    const { agenda, caller, stretch } = this.#parts;
    const as = random.unit() < 0.8 ? SHOP : DESK;
    const kind = kindOf(random);
    const key = `order-${taskId}`;
    const body = bodyOf(kind, random, stretch);
    const request = { kind: 'admit', key, body } as const;
    const admitted = await this.#persist(host, request, as, random);
    if (random.unit() < 0.2) void this.#repeat(host, request, as, random.fork());
    if (admitted.kind !== 'ok') return;
    let operation = admitted.body;
    for (let polls = 0; operation.state === 'awaiting_approval' && polls < 30; polls += 1) {
      await agenda.sleep((5_000 + random.below(10_000)) * stretch);
      const { operationId } = operation;
      const seen = await caller.call(host, { kind: 'operation', operationId }, as);
      if (seen.kind === 'ok') operation = seen.body;
    }
    if (random.unit() < 0.05) {
      await agenda.sleep(random.below(30_000) * stretch);
      await caller.call(host, { kind: 'cancel', operationId: operation.operationId }, as);
    }
    // The rest is left to the workers.
    if (operation.state !== 'accepted' || random.unit() < 0.4) return;
    const attempt = await this.#persist(
      host,
      {
        kind: 'start_attempt',
        operationId: operation.operationId,
        key: `${key}-run`,
        supersede: false,
      },
      as,
      random,
    );
    if (attempt.kind === 'ok') await this.#work(host, kind, attempt.body, as, random);
  }

  /** A worker that takes whatever there is. */
  async worker(host: SidecarNode, seed: number, isOver: () => boolean): Promise<void> {
    const random = new FakeRandom(seed);
    const { agenda, caller, stretch } = this.#parts;
    const as = random.unit() < 0.5 ? SHOP : DESK;
    for (let claims = 1; !isOver(); claims += 1) {
      const key = `worker-${seed}-${claims}`;
      const request = { kind: 'claim', key, actions: ['*'], limit: 1 + random.below(3) } as const;
      const claimed = await caller.call(host, request, { ...as, timeoutMs: 25_000 });
      if (claimed.kind !== 'ok') {
        await agenda.sleep((1_000 + random.below(4_000)) * stretch);
        continue;
      }
      // It has waited for a while already.
      if (stretch > 1 && claimed.body.items.length === 0)
        await agenda.sleep(CLAIM_WAITS_MS * (stretch - 1));
      for (const { operation, attempt } of claimed.body.items) {
        const kind = WORK_KINDS.find((each) => WORK[each].action === operation.action);
        if (kind !== undefined) await this.#work(host, kind, attempt, as, random);
      }
    }
  }

  /** A look that changes nothing: a value of the configuration. */
  async look(host: SidecarNode, seed: number): Promise<void> {
    const name = new FakeRandom(seed).unit() < 0.5 ? 'shop.banner' : 'shop.weights';
    await this.#parts.caller.call(host, { kind: 'config_value', name }, SHOP);
  }

  /** Somebody who keeps a small value under the guard of a lease of this host. */
  async keep(host: SidecarNode, seed: number): Promise<void> {
    const random = new FakeRandom(seed);
    const { caller } = this.#parts;
    const leases = await caller.call(host, { kind: 'held_leases' }, SHOP);
    if (leases.kind !== 'ok') return;
    const held = leases.body.items.find(({ state, epoch }) => state === 'held' && epoch !== null);
    if (held === undefined || held.epoch === null) return;
    const register = `${held.resource}/note`;
    const read = await caller.call(host, { kind: 'register', register }, SHOP);
    const replaces = read.kind === 'ok' ? read.body.version : null;
    const { resource } = held;
    // Sometimes with the token of an owner of before.
    const epoch = random.unit() < 0.2 ? Math.max(1, held.epoch - 1) : held.epoch;
    await caller.call(
      host,
      { kind: 'put_register', register, resource, epoch, replaces, value: random.below(1_000_000) },
      SHOP,
    );
    await caller.call(host, { kind: 'check_fence', resource, epoch }, SHOP);
    if (random.unit() < 0.15) await caller.call(host, { kind: 'release_lease', resource }, SHOP);
  }

  async #work(
    host: SidecarNode,
    kind: WorkKind,
    attempt: Attempt,
    as: Client,
    random: FakeRandom,
  ): Promise<void> {
    for (const effect of EFFECTS[kind]) {
      if (this.#dies(host, random)) return;
      const done = await this.#effect(host, { effect, attempt, as }, random);
      if (done === 'stop') return;
    }
    if (this.#dies(host, random)) return;
    const { operationId, attempt: number } = attempt;
    await this.#persist(
      host,
      {
        kind: 'report_outcome',
        operationId,
        attempt: number,
        outcome: random.unit() < 0.9 ? 'succeeded' : 'failed',
        result: { note: random.below(1_000) },
      },
      as,
      random,
    );
  }

  async #effect(
    host: SidecarNode,
    { effect, attempt, as }: { effect: string; attempt: Attempt; as: Client },
    random: FakeRandom,
  ): Promise<'on' | 'stop'> {
    const { operationId, attempt: number } = attempt;
    const one = { operationId, attempt: number, effect };
    const key = `${operationId}-${number}-${effect}`;
    const begun = await this.#persist(host, { kind: 'begin_effect', ...one, key }, as, random);
    if (begun.kind !== 'ok') return 'stop';
    const { effect: recorded } = begun.body;
    if (recorded.state !== 'begun') return recorded.state === 'succeeded' ? 'on' : 'stop';
    if (!(await this.#takeTime(host, one, as, random))) return 'stop';
    if (this.#dies(host, random)) return 'stop';
    const verdict = this.#parts.targets.take(host.name, attempt, begun.body);
    await this.#parts.agenda.sleep(1 + random.below(200));
    if (this.#dies(host, random)) return 'stop';
    const isRefused = verdict === 'stale_epoch' || verdict === 'closed';
    const outcome = isRefused ? 'failed' : 'succeeded';
    const result = { verdict };
    const settled = await this.#persist(
      host,
      { kind: 'settle_effect', ...one, outcome, result },
      as,
      random,
    );
    return settled.kind === 'ok' && outcome === 'succeeded' ? 'on' : 'stop';
  }

  /** Mostly a moment; now and then so long that a lease ends meanwhile. False: it is to stop. */
  async #takeTime(
    host: SidecarNode,
    one: { operationId: string; attempt: number },
    as: Client,
    random: FakeRandom,
  ): Promise<boolean> {
    const { agenda, caller, stretch } = this.#parts;
    const beatMs = HEARTBEAT_MS * stretch;
    let leftMs = random.unit() < 0.85 ? random.below(2_000) : random.below(90_000) * stretch;
    while (leftMs > beatMs) {
      await agenda.sleep(beatMs);
      leftMs -= beatMs;
      const checkpoint = random.unit() < 0.2 ? { at: random.below(1_000) } : undefined;
      const { operationId, attempt } = one;
      const beat = await caller.call(
        host,
        {
          kind: 'heartbeat',
          operationId,
          attempt,
          ...(checkpoint === undefined ? {} : { checkpoint }),
        },
        as,
      );
      if (beat.kind === 'refused') return false;
    }
    await agenda.sleep(leftMs);
    return true;
  }

  #dies(host: SidecarNode, random: FakeRandom): boolean {
    if (random.unit() >= 0.03 || this.isCalm) return false;
    this.#parts.log.add({
      kind: 'fault',
      fault: 'worker_death',
      stage: 'once',
      faultId: this.#parts.nextFaultId(),
      nodes: [host.name],
      detail: {},
    });
    return true;
  }

  /** Asks again with the same key until it is told something. */
  async #persist<R extends CallRequest>(
    host: SidecarNode,
    request: R,
    as: Client,
    random: FakeRandom,
  ): Promise<Called<R['kind']>> {
    const { agenda, caller } = this.#parts;
    let first: number | null = null;
    for (let tries = 1; ; tries += 1) {
      const calling = caller.call(host, request, { ...as, repeats: first });
      first ??= caller.lastCallId;
      const end: Called<R['kind']> = await calling;
      if (!isWorthAnother(end) || tries >= PATIENCE_TRIES) return end;
      await agenda.sleep(500 * 2 ** tries + random.below(2_000));
    }
  }

  /** Later, by somebody who does not know that it was asked for: the same, or another payload. */
  async #repeat(
    host: SidecarNode,
    request: CallRequest & { kind: 'admit' },
    as: Client,
    random: FakeRandom,
  ): Promise<void> {
    const { agenda, stretch } = this.#parts;
    await agenda.sleep(random.below(240_000) * stretch);
    const { body } = request;
    const other = { ...body, attributes: { ...body.attributes, amount: 7 } };
    const isSame = random.unit() < 0.7;
    await this.#parts.caller.call(host, isSame ? request : { ...request, body: other }, as);
  }
}

function isWorthAnother(end: Called<CallKind>): boolean {
  if (end.kind === 'info') return true;
  return end.kind === 'refused' && end.problem['retryable'] === true;
}

function kindOf(random: FakeRandom): WorkKind {
  const all = WORK_KINDS.flatMap((kind) => Array<WorkKind>(KIND_WEIGHTS[kind]).fill(kind));
  return all[random.below(all.length)] ?? 'notify';
}

function bodyOf(kind: WorkKind, random: FakeRandom, stretch: number) {
  const shard = SHARDS[random.below(SHARDS.length)] ?? '1';
  const principal = random.unit() < 0.97 ? 'agent:billing' : 'agent:nobody';
  return {
    principal,
    action: WORK[kind].action,
    resource: { id: `${kind}/${random.below(50)}`, attributes: { shard } },
    attributes: { amount: 10 + 10 * random.below(90) },
    ...(random.unit() < 0.1 ? { deadlineMs: (20_000 + random.below(60_000)) * stretch } : {}),
  };
}
