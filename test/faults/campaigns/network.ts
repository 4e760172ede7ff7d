/**
 * A real control and a real sidecar under load, and a bad network between them: slow, jittery, narrow, cut
 * one way or both ways, half-open, broken off in the middle of answers, with other bytes than were sent; at
 * times one of the daemons is killed meanwhile. Work goes on (I10), no answer lies, the revision in force
 * never goes down (I11), and once the network is well control holds every entry, in order, once (I12).
 */
import type { ReportedOperation } from '../../../shared/wire/control-api.ts';
import type { Breach, Campaign, CampaignOptions, CampaignReport } from '../campaign.ts';
import { lie, type Lie } from '../check/lie.ts';
import { readOperations } from '../check/read-journal.ts';
import { historyChecks } from '../check/promise-checks.ts';
import { History, countCalls, type Call } from '../history/history.ts';
import { Workload } from '../history/workload.ts';
import { networkCycle } from '../network/network-plan.ts';
import { makeNetworkSite, publishAgain, type NetworkSite } from '../network/network-site.ts';
import { pause } from '../pause.ts';
import { Verifier } from '../verifier.ts';

const CLIENTS = 8;
/** Of load with the wire bad and control away, where it was killed. */
const AFTER_MS = 600;
const BOUND_MS = 60_000;
const POLL_MS = 50;
const PAGE = 500;

export const network: Campaign = {
  name: 'network',
  about: 'a bad network between the daemons under load, and kills of either of them in between',
  cyclesAtFirst: 18,
  needs: [],
  run,
};

async function run({
  cycles,
  from,
  seed,
  random,
  undo,
  isOver,
  say,
}: CampaignOptions): Promise<CampaignReport> {
  const site = await makeNetworkSite(undo, random.fork());
  const { daemons, proxy } = site;
  const history = new History();
  const verifier = new Verifier({
    history,
    journalPath: daemons.journalPath,
    random: random.fork(),
  });
  const running = new NetworkRun(site, verifier);
  const faults: Record<string, number> = {};
  const count = (name: string): void => void (faults[name] = (faults[name] ?? 0) + 1);
  let done = 0;
  for (; done < cycles && !isOver() && running.isWell; done += 1) {
    const { fault, wire, publishes, badMs, killed } = networkCycle(seed, from + done);
    const workload = new Workload({
      target: daemons.sidecar.target,
      history,
      random: random.fork(),
      prefix: `net-${done + 1}`,
    });
    const before = proxy.times;
    const callsBefore = history.calls.length;
    proxy.set(wire);
    workload.start(CLIENTS);
    count(fault);
    if (publishes) await running.publish(`cycle ${from + done}`);
    await pause(badMs);
    await running.untilMet(fault, before);
    running.expectWork(fault, history.calls.slice(callsBefore));
    if (killed !== null) {
      count(killed === 'control' ? 'kill -9 of control' : 'kill -9 of a sidecar');
      await daemons.kill(killed);
    }
    if (killed !== 'sidecar') await pause(AFTER_MS);
    await workload.stop();
    proxy.heal();
    if (killed !== null) await daemons.restart(killed);
    await verifier.afterCrash(daemons.sidecar.target, workload.begun);
    await running.untilMended(fault);
    const kill = killed === null ? '' : `, ${killed} killed`;
    say(`cycle ${from + done}: ${fault}${kill}: ${history.calls.length} calls`);
  }
  await running.compareBooks();
  await daemons.close('sidecar');
  await daemons.close('control');
  proxy.close();
  verifier.checkAll();
  return {
    counts: {
      cycles: done,
      ...faults,
      'revisions published': running.published,
      ...countCalls(history.calls),
      'asked again': verifier.retried,
      'entries walked': verifier.entries,
      'entries that control holds': running.heldEntries,
      'operations compared with control': running.compared,
      ...Object.fromEntries(
        Object.entries(proxy.disturbed).map(([name, times]) => [`wire: ${name}`, times]),
      ),
    },
    faults,
    checks: {
      ...historyChecks(history.calls),
      I10: running.answeredMeanwhile,
      I11: running.looked,
      I12: running.compared,
    },
    lies: [...verifier.lies, ...running.lies],
    breaches: running.breaches,
  };
}

class NetworkRun {
  readonly lies: Lie[] = [];
  readonly breaches: Breach[] = [];
  published = 0;
  heldEntries = 0;
  compared = 0;
  answeredMeanwhile = 0;
  looked = 0;
  readonly #site: NetworkSite;
  readonly #verifier: Verifier;
  #newest = 1;
  #inForce = 0;

  constructor(site: NetworkSite, verifier: Verifier) {
    this.#site = site;
    this.#verifier = verifier;
  }

  get isWell(): boolean {
    return this.#verifier.lies.length + this.lies.length + this.breaches.length === 0;
  }

  async publish(name: string): Promise<void> {
    this.#newest = await publishAgain(this.#site.daemons, name);
    this.published += 1;
  }

  /** I10: all that was asked since the wire was made bad. */
  expectWork(fault: string, calls: readonly Call[]): void {
    const answered = calls.filter(({ end }) => end?.kind === 'ok').length;
    this.answeredMeanwhile += answered;
    if (answered === 0) this.breaches.push({ what: fault, detail: 'no work was acknowledged' });
  }

  /** A wire that was bad while nothing went over it proves nothing. */
  async untilMet(fault: string, before: number): Promise<void> {
    const startedMs = performance.now();
    while (this.#site.proxy.times === before) {
      if (performance.now() - startedMs > BOUND_MS) {
        this.breaches.push({ what: fault, detail: 'nothing went over the wire' });
        return;
      }
      await pause(POLL_MS);
    }
  }

  /** I11, I12: in force is the newest revision, and control holds what was written up to now. */
  async untilMended(fault: string): Promise<void> {
    const { client } = this.#site.daemons.sidecar.target;
    const startedMs = performance.now();
    const { seq } = (await client.status()).journal;
    for (;;) {
      const { policy, journal } = await client.status();
      const inForce = policy.activeRevision ?? 0;
      if (inForce < this.#inForce)
        this.lies.push(
          lie('went_back', 'the policy', `revision ${inForce} after ${this.#inForce}`),
        );
      this.looked += 1;
      this.#inForce = Math.max(this.#inForce, inForce);
      this.heldEntries = journal.ackedSeq;
      if (inForce === this.#newest && journal.ackedSeq >= seq) return;
      if (performance.now() - startedMs > BOUND_MS) {
        const detail =
          `${BOUND_MS} ms after it healed: revision ${inForce} of ${this.#newest}, ` +
          `control holds ${journal.ackedSeq} of ${seq} entries`;
        this.breaches.push({ what: fault, detail });
        return;
      }
      await pause(POLL_MS);
    }
  }

  /** I12: what control shows of each operation is what the host's journal has. */
  async compareBooks(): Promise<void> {
    if (!this.isWell) return;
    await this.untilMended('the end');
    const { daemons } = this.#site;
    const control = daemons.controlClient();
    try {
      const shown = new Map<string, ReportedOperation>();
      for (let cursor: string | undefined; ;) {
        const page = await control.operations(
          cursor === undefined ? { limit: PAGE } : { limit: PAGE, cursor },
        );
        for (const operation of page.items) shown.set(operation.operationId, operation);
        if (page.nextCursor === null) break;
        cursor = page.nextCursor;
      }
      for (const operation of readOperations(daemons.journalPath, this.#verifier.keys())) {
        const { operationId, idempotencyKey: key, state } = operation;
        const said = shown.get(operationId);
        this.compared += 1;
        if (said === undefined)
          this.lies.push(lie('lost', key, `control does not know ${operationId}`));
        else if (said.state !== state)
          this.lies.push(lie('told_differently', key, `${state} here, ${said.state} at control`));
      }
    } finally {
      await control.close();
    }
  }
}
