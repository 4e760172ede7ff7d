/** People at control and at the hosts: they publish, approve, move leases, and settle what is unknown. */
import type { ApprovalRequest } from '../../../shared/wire/approval.ts';
import type { Host, JoinToken } from '../../../shared/wire/control-api.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import { FakeRandom } from '../../fakes/fake-random.ts';
import type { CallRequest } from '../history.ts';
import type { ControlNode } from '../engine/control-node.ts';
import { OPERATOR_TOKEN, type SidecarNode } from '../engine/sidecar-node.ts';
import type { Called, Caller } from './caller.ts';
import { SHARDS, brokenPolicy, policyOf, policyWanting } from './policies.ts';

type Parts = {
  readonly caller: Caller;
  readonly control: ControlNode;
  readonly hosts: readonly SidecarNode[];
  readonly stretch: number;
};

const APPROVERS = ['ann', 'ben'];

export class Operators {
  readonly #parts: Parts;
  /** Of those who may approve: they are known to control by name. */
  readonly #tokens = new Map<string, string>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async joinToken(host: string): Promise<string | null> {
    const made = await this.#call({ kind: 'create_join_token', host });
    return made.kind === 'ok' ? (made.body as JoinToken).joinToken : null;
  }

  /** The first policy; true when it is in force. */
  async publishFirst(seed: number): Promise<boolean> {
    const document = policyOf(new FakeRandom(seed), this.#parts.stretch);
    const published = await this.#call({ kind: 'publish_policy', replaces: null, document });
    return published.kind === 'ok';
  }

  async publish(seed: number): Promise<void> {
    const random = new FakeRandom(seed);
    const replaces = await this.#currentRevision();
    if (replaces === null) return;
    const draw = random.unit();
    if (draw < 0.15 && replaces > 1) {
      await this.#call({ kind: 'roll_back_policy', replaces, to: 1 + random.below(replaces - 1) });
      return;
    }
    const { stretch } = this.#parts;
    const document = draw < 0.3 ? brokenPolicy(random, stretch) : policyOf(random, stretch);
    await this.#call({ kind: 'publish_policy', replaces, document });
  }

  /** For all hosts at once: whatever is on its way to some goes to all of them first. */
  async publishWanting(approvers: number, seed: number): Promise<void> {
    const promote = { kind: 'order_rollout', order: 'promote' } as const;
    for (let stages = 0; stages < 2; stages += 1) await this.#call(promote);
    const replaces = await this.#currentRevision();
    if (replaces === null) return;
    const document = policyWanting(approvers, new FakeRandom(seed));
    await this.#call({ kind: 'publish_policy', replaces, document });
    await this.#call(promote);
  }

  async approve(requestId: string, digest: string): Promise<void> {
    const request = { kind: 'approve', requestId, verb: 'approve', digest } as const;
    await this.#call(request, this.#tokens.get('ann'));
  }

  async orderRollout(seed: number): Promise<void> {
    const order = new FakeRandom(seed).unit() < 0.7 ? 'promote' : 'halt';
    await this.#call({ kind: 'order_rollout', order });
  }

  /** Looks at what waits, and decides each: mostly for it. */
  async decideApprovals(seed: number): Promise<void> {
    const random = new FakeRandom(seed);
    const path = '/v1/approvals?state=pending&limit=20';
    const listed = await this.#call({ kind: 'read_control', path });
    if (listed.kind !== 'ok') return;
    const { items } = listed.body as { items: readonly ApprovalRequest[] };
    for (const { requestId, payloadDigest } of items) {
      if (random.unit() < 0.3) continue;
      const verb = random.unit() < 0.8 ? 'approve' : 'deny';
      const by = APPROVERS[random.below(APPROVERS.length)] ?? 'ann';
      const request = { kind: 'approve', requestId, verb, digest: payloadDigest } as const;
      await this.#call(request, this.#tokens.get(by));
      if (random.unit() < 0.1)
        await this.#call({ ...request, verb: 'withdraw' }, this.#tokens.get(by));
    }
  }

  async moveLease(seed: number): Promise<void> {
    const random = new FakeRandom(seed);
    const { hosts } = this.#parts;
    const resource = `${random.unit() < 0.6 ? 'orders' : 'books'}/${SHARDS[random.below(SHARDS.length)]}`;
    const toHost = hosts[random.below(hosts.length)]?.name ?? '';
    if (random.unit() < 0.7) await this.#call({ kind: 'transfer_lease', resource, toHost });
    else await this.#call({ kind: 'revoke_lease', resource });
  }

  /** Takes a host out for a while: maintenance. */
  async drain(host: SidecarNode, on: boolean): Promise<void> {
    const { control } = this.#parts;
    const hostId = control.watch.hostId(host.name);
    if (hostId !== null) await this.#call({ kind: 'drain_host', host: host.name, hostId, on });
  }

  async addApprovers(): Promise<boolean> {
    const { caller, control } = this.#parts;
    for (const name of APPROVERS) {
      if (this.#tokens.has(name)) continue;
      const made = await caller.call(
        control,
        { kind: 'add_operator', name, roles: ['viewer', 'approver'] },
        this.#asAdmin(),
      );
      if (made.kind !== 'ok') return false;
      this.#tokens.set(name, (made.body as { token: string }).token);
    }
    return true;
  }

  async #currentRevision(): Promise<number | null> {
    const read = await this.#call({ kind: 'read_control', path: '/v1/policy' });
    return read.kind === 'ok' ? (read.body as { policyRevision: number }).policyRevision : null;
  }

  async hosts(): Promise<readonly Host[]> {
    const read = await this.#call({ kind: 'read_control', path: '/v1/hosts?limit=100' });
    return read.kind === 'ok' ? (read.body as { items: readonly Host[] }).items : [];
  }

  /**
   * A person looks at what is unknown on a host, and says what came of it. Who `waits` leaves alone what
   * the host still asks about by itself.
   */
  async settleUnknown(
    host: SidecarNode,
    seed: number,
    { waits = false }: { readonly waits?: boolean } = {},
  ): Promise<void> {
    const random = new FakeRandom(seed);
    const { caller } = this.#parts;
    const as = { client: 'ops', token: OPERATOR_TOKEN };
    const listed = await caller.call(host, { kind: 'unknown_operations' }, as);
    if (listed.kind !== 'ok') return;
    const { items } = listed.body as { items: readonly StoredOperation[] };
    for (const { operationId, reconciliation } of items) {
      if (waits && (reconciliation?.nextTryAtMs ?? null) !== null) continue;
      const outcome = random.unit() < 0.5 ? 'succeeded' : 'failed';
      await caller.call(
        host,
        { kind: 'resolve', operationId, outcome, provenance: 'asserted' },
        as,
      );
    }
  }

  #call<R extends CallRequest>(request: R, token?: string): Promise<Called<R['kind']>> {
    const { caller, control } = this.#parts;
    const as = this.#asAdmin();
    return caller.call(control, request, token === undefined ? as : { client: 'approver', token });
  }

  #asAdmin() {
    return { client: 'admin', token: this.#parts.control.adminToken };
  }
}
