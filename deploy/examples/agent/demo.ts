/**
 * An agent whose model repeats itself, plans anew and dies in the middle of a turn, between a control
 * that goes away and a sidecar that is killed: two daemons, the desk that its tools act on, and the
 * agent, each a process of its own. In the end the ledger of the desk, the journal on the disk of the
 * sidecar and what the agent was told are held against one another. Exits 1 if one call was done
 * twice, lost, or told as it was not.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitWith, onDaemons, wholeNumber } from '../demo-run.ts';
import { Progress } from '../orders/progress.ts';
import { isClean, journalOf, takeAccount, type Evidence } from './account.ts';
import { recordedPlan, seededPlan, sharedPlan, type CrashPlan } from './crash-plan.ts';
import { Desk } from './desk-client.ts';
import { printReports, type Report } from './report.ts';
import { Story, type Told } from './story.ts';
import { TURNS_FILE, readTurns, type RecordedTurn } from './turn-file.ts';
import { World } from './world.ts';

const HELP = `npm run demo:agent -- [--seed N] [--seeds N] [--json] [--evidence FILE] [--keep]
npm run demo:agent -- --check FILE

  --seed N         kill the agent, the sidecar and control at other points (without it at those that
                   turns.ndjson names)
  --seeds N        N conversations more, each killed at other points, on the same daemons
  --json           print one JSON object at the end instead of the report
  --evidence FILE  write down what is compared: ledger, journal, transcript, explanations
  --check FILE     compare such a file again, and start nothing
  --keep           keep the data directory, and say where it is
`;

const POLICY_FILE = fileURLToPath(new URL('./policy.yaml', import.meta.url));

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
    evidence: { type: 'string' },
    check: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

/** Conversations at one time: the agents mostly wait for what a kill has left. */
const AT_ONCE = 5;

type Run = { readonly evidence: Evidence; readonly report: Report };

async function main(): Promise<number> {
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.check !== undefined) {
    const runs = JSON.parse(readFileSync(options.check, 'utf8')) as Run[];
    return conclude(
      runs.map(({ report, evidence }) => ({ ...report, account: takeAccount(evidence) })),
    );
  }
  const seed = options.seed === undefined ? null : wholeNumber('seed', options.seed);
  const seeds = wholeNumber('seeds', options.seeds);
  // The account of the run goes to standard error, so that standard output is the report alone.
  const progress = new Progress(1, process.stderr);
  const daemons = {
    name: 'agent',
    starts: 'control, a sidecar, and the desk that the tools act on',
    policyFile: POLICY_FILE,
    syncInterval: '500ms',
    keep: options.keep,
    progress,
  };
  return onDaemons(daemons, async ({ supervisor, dataDir }) => {
    const desk = await Desk.start();
    try {
      const runs = await tell(new World(supervisor, desk), { seed, seeds, dataDir, progress });
      if (options.evidence !== undefined) writeFileSync(options.evidence, JSON.stringify(runs));
      return conclude(runs.map(({ report }) => report)) === 0;
    } finally {
      await desk.stop();
    }
  });
}

type Asked = {
  readonly seed: number | null;
  readonly seeds: number;
  readonly dataDir: string;
  readonly progress: Progress;
};

async function tell(
  world: World,
  { seed, seeds, dataDir, progress }: Asked,
): Promise<readonly Run[]> {
  const turns = readTurns(TURNS_FILE);
  const asked = [
    { seed, plan: seed === null ? recordedPlan(turns) : seededPlan(seed, turns) },
    ...Array.from({ length: seeds }, (_, it) => ({ seed: it, plan: sharedPlan(it, turns) })),
  ];
  const one = async (of: { seed: number | null; plan: CrashPlan }, at: number): Promise<Told> => {
    const conversation = at === 0 ? 'case' : `case-${of.seed}`;
    const say = (text: string): void =>
      progress.say(seeds === 0 ? text : `${conversation.padEnd(8)} ${text}`);
    return new Story({ world, conversation, turns, plan: of.plan, directory: dataDir, say }).run();
  };
  try {
    const told: Told[] = [];
    const waiting = asked.entries();
    const work = async (): Promise<void> => {
      for (const [at, of] of waiting) told[at] = await one(of, at);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    const journal = await world.journal();
    return asked.flatMap((of, at) => {
      const it = told[at];
      if (it === undefined) return [];
      const evidence = { ...it, journal: journalOf(journal, it.conversation) };
      return [{ evidence, report: reportOf(it, of.seed, { evidence, turns }) }];
    });
  } finally {
    await world.close();
  }
}

function reportOf(
  { conversation, told, killed, missed, settledByLedger }: Told,
  seed: number | null,
  { evidence, turns }: { evidence: Evidence; turns: readonly RecordedTurn[] },
): Report {
  const account = takeAccount(evidence);
  return { seed, conversation, turns, told, killed, missed, settledByLedger, account };
}

function conclude(reports: readonly Report[]): number {
  if (options.json) process.stdout.write(`${JSON.stringify({ conversations: reports })}\n`);
  else printReports(reports);
  return reports.every(({ account }) => isClean(account)) ? 0 : 1;
}

await exitWith(main);
