/**
 * The outage story on real input: two daemons, a payment target and an app, each a process of its
 * own. Control is killed a third of the way in and comes back at two thirds; half-way the sidecar
 * is killed as well, and serves again from its disk. In the end everything is held against
 * everything else, the four lists of the recovery view entry by entry. Exits 1 if one order is lost,
 * doubled, or told wrong.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Supervisor } from '../../../control/cli/dev/supervisor.ts';
import type { ControlClient, Recovery, SidecarClient } from '../../../shared/client/index.ts';
import { exitWith, onDaemons, wholeNumber } from '../demo-run.ts';
import { takeAccount, type Account, type Away, type Settled } from './account.ts';
import { makeOrders, parseOrders, type OrderLine } from './order-file.ts';
import { OutageScript } from './outage-script.ts';
import { OrderWorker, type Disposition } from './order-worker.ts';
import { Progress } from './progress.ts';
import { recoveryProblems } from './recovery-check.ts';
import { readKnown, readTold } from './recovery-reading.ts';
import { printReport, type Report } from './report.ts';
import { PaymentTarget } from './target-client.ts';

const HELP = `npm run demo -- [--seed N] [--lines N] [--orders FILE] [--concurrency N] [--json]
                [--keep]

  --seed N         make another file of orders, and other failures of the target (without it the
                   file orders.ndjson is taken)
  --lines N        lines of the file that --seed makes (default 2200, at least 2000)
  --orders FILE    work through your own file of orders (NDJSON)
  --concurrency N  orders in work at one time (default 24)
  --json           print one JSON object at the end instead of the report
  --keep           keep the data directory, and say where it is
`;

const ORDERS_FILE = fileURLToPath(new URL('./orders.ndjson', import.meta.url));
const SETTLE_BOUND_MS = 60_000;
const POLL_MS = 50;

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string' },
    lines: { type: 'string', default: '2200' },
    orders: { type: 'string' },
    concurrency: { type: 'string', default: '24' },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, POLL_MS));

async function main(): Promise<number> {
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const seed = wholeNumber('seed', options.seed ?? '1');
  const lines = parseOrders(readOrders(seed));
  const concurrency = wholeNumber('concurrency', options.concurrency, 1);
  // The account of the run goes to standard error, so that standard output is the report alone.
  const progress = new Progress(lines.length, process.stderr);
  const daemons = {
    name: 'demo',
    starts: 'control, a sidecar, and a payment target that compares fencing tokens',
    syncInterval: '1s',
    keep: options.keep,
    progress,
  };
  return onDaemons(daemons, async ({ supervisor }) => {
    const target = await PaymentTarget.start(seed);
    try {
      const report = await tell({ supervisor, target, lines, progress, concurrency, seed });
      if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
      else printReport(report);
      const { lost, doubled, toldWrong, recoveryWrong } = report;
      return [lost, doubled, toldWrong, recoveryWrong].every(({ length }) => length === 0);
    } finally {
      await target.stop();
    }
  });
}

type Story = {
  readonly supervisor: Supervisor;
  readonly target: PaymentTarget;
  readonly lines: readonly OrderLine[];
  readonly progress: Progress;
  readonly concurrency: number;
  readonly seed: number;
};

async function tell({
  supervisor,
  target,
  lines,
  progress,
  concurrency,
  seed,
}: Story): Promise<Report> {
  const sidecar = supervisor.openSidecarClient();
  const worker = new OrderWorker(sidecar, target);
  const settled: { line: OrderLine; disposition: Disposition | null }[] = lines.map((line) => ({
    line,
    disposition: null,
  }));
  const script = new OutageScript(supervisor, progress, lines.length);
  let executedInOutage = 0;
  let done = 0;

  const queue = [...settled];
  const work = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      if (item.line.ok) item.disposition = await worker.process(item.line.order);
      if (item.disposition?.kind === 'executed' && script.isAway) executedInOutage += 1;
      done += 1;
      progress.update(done, script.stateOfControl);
      script.lineDone(done);
    }
  };
  // What cannot be taken back waits: its rule pauses it while control is away.
  const tenant = 'tenant-7';
  const deletion = await worker.acceptDeletion(tenant);
  await Promise.all(Array.from({ length: concurrency }, work));
  await script.end();

  const deferred = settled.filter(({ disposition }) => disposition?.kind === 'deferred');
  progress.say(
    `control is back: ${deferred.length} orders that needed fresh authority are submitted again, with the same keys`,
  );
  await untilConnected(sidecar);
  await worker.carryOut(deletion, tenant);
  for (const item of deferred)
    if (item.line.ok) item.disposition = await worker.process(item.line.order);

  const control = supervisor.openControlClient();
  try {
    const before = await checkRecovery({ sidecar, control, target });
    const resolved = await reconcile(sidecar, target);
    progress.say(`${resolved} operations with unknown outcome were settled by asking the target`);
    const after = await checkRecovery({ sidecar, control, target });
    const fenced = await staleOwnerIsFenced(sidecar, target);
    const account = await takeAccount({
      settled,
      ledger: await target.ledger(),
      sidecar,
      control,
      away: { ...script.away, toMs: script.startedAtMs },
    });
    return {
      ...summarize({
        settled,
        account,
        away: script.away,
        deferred: deferred.length,
        executedInOutage,
        resolved,
      }),
      seed,
      askedAgain: worker.askedAgain,
      staleOwnerFenced: fenced,
      recovery: after.recovery,
      recoveryEntries: before.entries + after.entries,
      recoveryWrong: [...before.problems, ...after.problems],
    };
  } finally {
    await control.close();
    await sidecar.close();
  }
}

/**
 * The lists of each outage held against the target's ledger and against what control was reported:
 * once while some outcomes are unknown, and once when they are settled.
 */
async function checkRecovery({
  sidecar,
  control,
  target,
}: {
  sidecar: SidecarClient;
  control: ControlClient;
  target: PaymentTarget;
}): Promise<{ recovery: Recovery; entries: number; problems: string[] }> {
  await untilReported(sidecar);
  const { entries: ledger } = await target.ledger();
  const problems: string[] = [];
  let entries = 0;
  for (const { outageId, openedSeq: afterSeq = 0 } of await sidecar.outages()) {
    const told = await readTold(sidecar, outageId);
    const { acceptedBefore, continued, stopped, refused, needsReconciliation } = told;
    for (const list of [acceptedBefore, continued, stopped, refused, needsReconciliation])
      entries += list.length;
    problems.push(...recoveryProblems(told, await readKnown(control, { afterSeq, ledger })));
  }
  return { recovery: await sidecar.recovery(), entries, problems };
}

/**
 * Settles what is unknown by what the target's ledger says: a probe, so the outcome is `verified`.
 */
async function reconcile(sidecar: SidecarClient, target: PaymentTarget): Promise<number> {
  const { items } = await sidecar.operations({ state: 'unknown', limit: 500 });
  for (const { operationId } of items) {
    const { entries } = await target.ledger(operationId);
    const outcome = entries.length > 0 ? 'succeeded' : 'failed';
    await sidecar.resolve(operationId, {
      outcome,
      provenance: 'verified',
      reason: `the target's ledger has ${entries.length} entries for it`,
    });
  }
  return items.length;
}

/** A write with the token before the present one, as a stale owner would send it. */
async function staleOwnerIsFenced(sidecar: SidecarClient, target: PaymentTarget): Promise<boolean> {
  const lease = (await sidecar.leases()).find(({ epoch }) => epoch !== null);
  if (lease === undefined || lease.epoch === null) return false;
  const answer = await target.perform({
    effect: 'refund',
    operationId: 'a-stale-owner',
    order: 'o-stale',
    amount: 1,
    fence: { resource: lease.resource, token: lease.epoch - 1 },
  });
  return answer.kind === 'fenced';
}

async function untilConnected(sidecar: SidecarClient): Promise<void> {
  await until(
    'the sidecar to reach control again',
    async () => (await sidecar.status()).control.state === 'connected',
  );
}

async function untilReported(sidecar: SidecarClient): Promise<void> {
  await until('control to hold every entry of the journal', async () => {
    const { journal } = await sidecar.status();
    return journal.ackedSeq === journal.seq;
  });
}

async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const startedMs = performance.now();
  while (!(await isTrue())) {
    if (performance.now() - startedMs > SETTLE_BOUND_MS)
      throw new Error(`waited ${SETTLE_BOUND_MS / 1_000} s in vain for ${what}`);
    await pause();
  }
}

function summarize(parts: {
  settled: readonly Settled[];
  account: Account;
  away: Away;
  deferred: number;
  executedInOutage: number;
  resolved: number;
}): Omit<
  Report,
  'seed' | 'askedAgain' | 'recovery' | 'recoveryEntries' | 'recoveryWrong' | 'staleOwnerFenced'
> {
  const { settled, account, away } = parts;
  const count = (kind: Disposition['kind']): number =>
    settled.filter(({ disposition }) => disposition?.kind === kind).length;
  return {
    linesRead: settled.length,
    badLines: settled.flatMap(({ line }) =>
      line.ok ? [] : [`line ${line.line}: ${line.problem}`],
    ),
    ordersRead: settled.filter(({ line }) => line.ok).length,
    admitted: count('executed') + count('unknown'),
    refusedByRule: count('refused'),
    deduplicated: count('deduplicated'),
    conflicting: count('conflicting'),
    executedWhileControlWasDown: parts.executedInOutage,
    refusedForFreshAuthority: parts.deferred,
    settledByProbe: parts.resolved,
    controlAwayMs: away.toMs - away.fromMs,
    ...account,
  };
}

function readOrders(seed: number): string {
  if (options.orders !== undefined) return readFileSync(options.orders, 'utf8');
  if (options.seed === undefined) return readFileSync(ORDERS_FILE, 'utf8');
  return makeOrders(seed, wholeNumber('lines', options.lines, 2_000));
}

await exitWith(main);
