/**
 * A control with a few hosts, each of which does at its syncs what a sidecar does: takes the
 * revision that it is told to run, and says what it runs.
 */
import { BundleSchema, STATEMENT_TYPES, type SyncRequest } from '../../shared/wire/statements.ts';
import type { Tally } from '../../shared/wire/rollout.ts';
import type { ControlConfiguration } from '../../control/config.ts';
import { ControlWorld } from './control-world.ts';
import type { SigningHost } from './signing-host.ts';

export class FleetHost {
  readonly host: SigningHost;
  readonly labels: Record<string, string>;
  policyRevision: number | null = null;
  /** The document in force here, by its description. */
  document: string | undefined;
  rejected: SyncRequest['policyRejected'] = null;
  processId = 'process-1';
  decisions: Tally[] = [];
  /** Every revision that it was ever told to run, in order. */
  readonly told: number[] = [];
  /** Why it cannot apply a revision. */
  refuses: (policyRevision: number) => string | null = () => null;

  constructor(host: SigningHost, labels: Record<string, string>) {
    this.host = host;
    this.labels = labels;
  }

  /** A sync, then what follows from it, then the sync that says so. */
  async sync(over: Partial<SyncRequest> = {}): Promise<void> {
    const target = await this.#exchange(over).catch((error: Error) => this.#learnKeys(error));
    if (target === null || target === this.policyRevision) return;
    if (this.rejected?.policyRevision === target) return;
    const reason = this.refuses(target);
    if (reason === null) {
      await this.#take('/v1/bundle');
    } else {
      this.rejected = { policyRevision: target, reason };
    }
    await this.#exchange(over);
  }

  /** Answered under a key that it does not know, it asks for the bundle under one that it does. */
  async #learnKeys(error: Error): Promise<number | null> {
    if (!error.message.startsWith('key_unknown')) throw error;
    const kids = this.host.enrolment?.trust.keys.map(({ kid }) => kid) ?? [];
    await this.#take(`/v1/bundle?trusted=${kids.join(',')}`);
    return this.policyRevision;
  }

  async #take(path: string): Promise<void> {
    const { host } = this;
    const answer = await host.request('GET', path);
    const bundle = await host.open(answer, STATEMENT_TYPES.bundle, BundleSchema);
    if (bundle.policyRevision < (this.policyRevision ?? 0)) throw new Error('sent back');
    this.policyRevision = bundle.policyRevision;
    this.document = bundle.policy.description;
    this.rejected = null;
    if (host.enrolment !== null) host.enrolment = { ...host.enrolment, trust: bundle.trust };
  }

  async #exchange(over: Partial<SyncRequest>): Promise<number | null> {
    const { policyRevision, rejected, labels, processId, decisions } = this;
    const answer = await this.host.sync({
      policyRevision,
      highWater: { policyRevision: policyRevision ?? 0 },
      over: { policyRejected: rejected, labels, processId, decisions, ...over },
    });
    const target = answer.policyRevision;
    if (target !== null && target !== this.told.at(-1)) this.told.push(target);
    return target;
  }
}

export class FleetWorld {
  readonly control: ControlWorld;
  readonly hosts: FleetHost[] = [];

  private constructor(control: ControlWorld) {
    this.control = control;
  }

  /** As many hosts as labels are given. */
  static async create(
    labels: readonly Record<string, string>[],
    over: Partial<ControlConfiguration> = {},
  ): Promise<FleetWorld> {
    const world = new FleetWorld(await ControlWorld.create({ rollout: 'staged', ...over }));
    for (const [index, own] of labels.entries()) {
      world.hosts.push(new FleetHost(await world.control.enrolHost(`host-${index + 1}`), own));
    }
    return world;
  }

  host(number: number): FleetHost {
    const host = this.hosts[number - 1];
    if (host === undefined) throw new Error(`there is no host ${number}`);
    return host;
  }

  /** Every host syncs, and control looks at them. */
  async round(): Promise<void> {
    for (const host of this.hosts) await host.sync();
    await this.look();
  }

  /**
   * Control looks at the hosts, and has taken the steps that are due: an order that fits nothing is
   * answered behind them.
   */
  async look(): Promise<void> {
    await this.control.clock.advance(1_000);
    await this.order('resume', {}, { 'if-match': '"999999"' });
  }

  /** The hosts go on syncing while that much time passes. */
  async pass(durationMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < durationMs; passedMs += 5_000) {
      await this.control.clock.advance(4_000);
      await this.round();
    }
  }

  running(): (number | null)[] {
    return this.hosts.map(({ policyRevision }) => policyRevision);
  }

  async rollout(): Promise<Record<string, unknown>> {
    return (await this.control.get('/v1/policy/rollout')).json;
  }

  order(verb: string, body: unknown = {}, headers: Record<string, string> = {}) {
    return this.control.call('POST', `/v1/policy/rollout:${verb}`, { body, headers });
  }

  async audited(prefix: string): Promise<string[]> {
    const { json } = await this.control.get('/v1/audit?limit=500');
    const items = json['items'] as { action: string; actor: string; target: string }[];
    return items
      .filter(({ action }) => action.startsWith(prefix))
      .map(({ action, actor, target }) => `${actor} ${action} ${target}`)
      .toReversed();
  }

  dispose(): Promise<void> {
    return this.control.dispose();
  }
}
