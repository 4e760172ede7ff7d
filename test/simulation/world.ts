/** One simulated fleet: control, its hosts, their network, and the people and apps around them. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Health } from '../../shared/wire/health.ts';
import type { HeldLeaseView, SidecarStatus } from '../../shared/wire/sidecar-api.ts';
import { STANDARD } from '../fakes/control-world.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import { Agenda } from './engine/agenda.ts';
import { ControlNode } from './engine/control-node.ts';
import { HistoryLog } from './engine/history-log.ts';
import { Network } from './engine/network.ts';
import { OPERATOR_TOKEN, SidecarNode } from './engine/sidecar-node.ts';
import { Faults } from './faults.ts';
import { CONTROL } from './history.ts';
import type { Plan } from './plan.ts';
import { Apps } from './workload/apps.ts';
import { Caller } from './workload/caller.ts';
import { Drills } from './workload/drills.ts';
import { Edges } from './workload/edges.ts';
import { Operators } from './workload/operators.ts';
import { PROBED_HOST, Probes } from './workload/probes.ts';
import { Targets } from './workload/targets.ts';

const PROBES_SEED = 0xa5ed;

/** In memory where there is such a place: nothing here is to survive the run. */
function makeRoot(): string {
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  return mkdtempSync(join(base, 'holdfast-simulation-'));
}

export class World {
  readonly agenda = new Agenda();
  readonly log = new HistoryLog(this.agenda);
  readonly network: Network;
  readonly control: ControlNode;
  readonly hosts: readonly SidecarNode[];
  readonly operators: Operators;
  readonly apps: Apps;
  readonly edges: Edges;
  readonly drills: Drills;
  readonly faults: Faults;
  readonly #root = makeRoot();
  /** No worker asks for more. */
  isOver = false;
  #faultIds = 0;

  constructor({ seed, terms, rollout, beatMs }: Plan) {
    const { agenda, log } = this;
    const random = new FakeRandom(seed);
    const root = this.#root;
    const node = (name: string) => ({ name, agenda, log, random: random.fork(), root });
    const { stretch } = terms;
    const seconds = (ms: number): string => `${ms}ms`;
    const longer = (ms: number): string => seconds(ms * stretch);
    this.control = new ControlNode(node(CONTROL), {
      ...STANDARD,
      listen: '127.0.0.1:7480',
      leaseTtl: seconds(terms.leaseTtlMs),
      lockDelay: seconds(terms.lockDelayMs),
      drift: terms.drift,
      hostLateAfter: longer(45_000),
      hostLostAfter: longer(90_000),
      placementLostAfter: longer(90_000),
      rollout,
      rolloutStages: [`40%/${longer(90_000)}`, '100%'],
    });
    const { control } = this;
    const place = { machine: control.machine, life: () => control.life() };
    this.network = new Network({ agenda, log, random: random.fork(), control: place });
    const { network } = this;
    const targets = new Targets(log);
    // Drawn apart: it is asked only where something is unknown.
    const probes = new Probes({ agenda, log, targets, random: new FakeRandom(seed + PROBES_SEED) });
    this.hosts = terms.hosts.map(
      (name) =>
        new SidecarNode({
          ...node(name),
          network,
          terms: {
            syncInterval: seconds(terms.syncIntervalMs),
            requestTimeout: seconds(terms.requestTimeoutMs),
            freshTimeout: seconds(terms.freshTimeoutMs),
            controlLossAfter: seconds(terms.controlLossAfterMs),
            labels: [],
          },
          probe: (machine, life) => probes.caller(machine, life),
          probeTargets: [PROBED_HOST],
          joinToken: (host) => this.operators.joinToken(host),
        }),
    );
    for (const { machine } of [control, ...this.hosts]) machine.beatMs = beatMs;
    const caller = new Caller({ agenda, log, random: random.fork() });
    const nextFaultId = (): number => (this.#faultIds += 1);
    this.operators = new Operators({ caller, control, hosts: this.hosts, stretch });
    this.edges = new Edges({ agenda, caller, stretch });
    this.apps = new Apps({ agenda, log, caller, targets, nextFaultId, stretch });
    this.faults = new Faults({
      agenda,
      log,
      network,
      control,
      hosts: this.hosts,
      nextFaultId,
      stretch,
    });
    this.drills = new Drills({
      agenda,
      log,
      caller,
      targets,
      nextFaultId,
      control,
      hosts: this.hosts,
      operators: this.operators,
      faults: this.faults,
      look: (host) => this.look(host),
    });
  }

  /** What a host says of itself, read without the network; `null` where it does not run. */
  async look(host: SidecarNode): Promise<SidecarStatus | null> {
    const status = await this.#read<SidecarStatus>(host, '/v1/status');
    if (status === null) return null;
    const before = host.machine.now();
    const leases = await this.#read<{ items: HeldLeaseView[] }>(host, '/v1/leases');
    const clock = host.machine.now();
    // A machine that stood still in between believed it then, and not now.
    if (leases !== null && before.bootMs === clock.bootMs)
      this.log.add({ kind: 'leases_believed', host: host.name, clock, leases: leases.items });
    this.log.add({
      kind: 'host_state',
      host: host.name,
      clock,
      hostId: status.hostId,
      activeRevision: status.policy.activeRevision,
      stalenessMs: status.policy.stalenessMs,
      outageId: status.control.outage?.outageId ?? null,
      journalSeq: status.journal.seq,
      ackedSeq: status.journal.ackedSeq,
    });
    return status;
  }

  /** Why this host reports no more, and needs a person; `null` where it does not say so. */
  async reportsStopped(host: SidecarNode): Promise<string | null> {
    const health = await this.#read<Health>(host, '/v1/health');
    const reports = health?.controlPlane.parts['reports'];
    return reports?.state === 'failed' ? reports.detail : null;
  }

  async #read<T>(host: SidecarNode, url: string): Promise<T | null> {
    const { agenda, machine } = host;
    if (machine.suspendedUntilMs > agenda.nowMs) return null;
    const answered = host.life()?.request({
      method: 'GET',
      url,
      headers: {
        host: '127.0.0.1:7490',
        'holdfast-request': '1',
        authorization: `Bearer ${OPERATOR_TOKEN}`,
      },
    });
    const answer = await answered?.catch(() => null);
    return answer?.status === 200 ? (JSON.parse(answer.body) as T) : null;
  }

  async bury(): Promise<void> {
    for (const node of [this.control, ...this.hosts]) await node.bury();
  }

  dispose(): void {
    rmSync(this.#root, { recursive: true, force: true });
    for (const node of [this.control, ...this.hosts]) node.disk.dispose();
  }
}
