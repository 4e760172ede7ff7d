/** Benchmarks: ratios against a baseline of the same run, on the machine at hand. */
import { parseArgs } from 'node:util';
import { benchActivate } from './activate.ts';
import { benchAdmit } from './admit.ts';
import { benchDecide, type DecideFigures } from './decide.ts';
import { decideTable } from './decide-table.ts';
import { benchDrain } from './drain.ts';
import { benchGrowth } from './growth.ts';
import { benchIdle } from './idle.ts';
import { benchLeases } from './leases.ts';
import { benchNotices } from './notices.ts';
import { benchOutage } from './outage.ts';
import { benchReconnect } from './reconnect.ts';
import { benchPublish } from './publish.ts';

const HELP = `npm run bench -- <what> [--rounds N] [--requests N] [--connections N] [--json]

  admit    admission, durable before the answer, singly and in batches, against a bare Fastify route
           with the same schemas
  growth   rate of admission and time to open as the journal grows [--sizes 10000,1000000,5000000]
  leases   a shard handed over between two sidecars, renewals in batches, and what sidecars that
           sync cost control [--sidecars 10000]
  notices  a revocation on its way to sidecars that wait at control: until each has it, and until
           control has its confirmation [--sidecars 1000]
  reconnect sidecars that come back all at once to a control that has just started: until the last is
           in, and what others wait meanwhile [--sidecars 2000]
  decide   policy decisions in process beside Cedar and over HTTP beside Cerbos, and what publication
           costs [--rules 10,100,1000,10000] [--no-rivals]; installs the two once, into a cache
  activate a revision put in force by the sidecar: time, and longest delay of its event loop
           [--rules 1000,10000]
  outage   admission with control up, killed, a black hole, hanging, and answering 500, in turns
  drain    a backlog of reports going up, and the admissions meanwhile [--events 1000000] [--load 0.25]
           [--control-dir DIR: its data on another disk than those of the sidecar]
  idle     the sidecar's own processor time when nothing is asked of it, in the same states of control
           [--seconds 30]
  publish  a publication of 1,000 rules with and without the replay of 10,000 decisions
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    requests: { type: 'string', default: '20000' },
    connections: { type: 'string', default: '64' },
    sizes: { type: 'string', default: '10000,1000000,5000000' },
    seconds: { type: 'string', default: '30' },
    events: { type: 'string', default: '1000000' },
    load: { type: 'string', default: '0.25' },
    'control-dir': { type: 'string' },
    sidecars: { type: 'string', default: '10000' },
    rules: { type: 'string', default: '10,100,1000,10000' },
    'no-rivals': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const [rounds, requests, connections] = [values.rounds, values.requests, values.connections].map(
  Number,
) as [number, number, number];
const numbers = (list: string): number[] => list.split(',').map(Number);

const BENCHMARKS: Readonly<Record<string, () => object | Promise<object>>> = {
  admit: () => benchAdmit({ rounds, requests, connections, say }),
  growth: () =>
    benchGrowth({ sizes: numbers(values.sizes), requests, concurrency: connections, rounds, say }),
  leases: () => benchLeases({ sidecars: Number(values.sidecars), rounds, say }),
  notices: () => benchNotices({ sidecars: Number(values.sidecars), rounds, say }),
  reconnect: () => benchReconnect({ sidecars: Number(values.sidecars), say }),
  decide: () =>
    benchDecide({
      rules: numbers(values.rules),
      rounds,
      requests,
      connections,
      withRivals: !values['no-rivals'],
      say,
    }),
  activate: () => benchActivate({ rules: numbers(values.rules), rounds, say }),
  outage: () => benchOutage({ rounds, requests, connections, say }),
  idle: () => benchIdle({ seconds: Number(values.seconds), say }),
  drain: () =>
    benchDrain({
      events: Number(values.events),
      loadPart: Number(values.load),
      ...(values['control-dir'] === undefined ? {} : { controlDir: values['control-dir'] }),
      rounds,
      requests,
      connections,
      say,
    }),
  publish: () => benchPublish({ rules: 1_000, decisions: 10_000, rounds, say }),
};

const [what = ''] = positionals;
const benchmark = BENCHMARKS[what];
const isWrong = [
  rounds,
  requests,
  connections,
  Number(values.sidecars),
  Number(values.events),
  Number(values.seconds),
  ...numbers(values.sizes),
  ...numbers(values.rules),
]
  .map((value) => Number.isSafeInteger(value) && value > 0)
  .includes(false);
if (values.help || positionals.length === 0) {
  process.stdout.write(HELP);
} else if (benchmark === undefined || isWrong) {
  say(
    `${isWrong ? 'numbers must be whole and above 0' : `there is no benchmark ${what}`}\n${HELP}`,
  );
  process.exitCode = 2;
} else {
  const figures = await benchmark();
  if (!values.json && what === 'decide')
    process.stdout.write(decideTable(figures as DecideFigures));
  else if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else printTable(figures);
}

function printTable(figures: object): void {
  for (const [name, value] of Object.entries(figures) as [string, unknown][]) {
    if (Array.isArray(value)) for (const row of value) say(`${name} ${JSON.stringify(row)}`);
    else {
      const text = typeof value === 'number' ? Number(value.toPrecision(4)).toString() : '-';
      process.stdout.write(`${name.padEnd(26)} ${text.padStart(10)}\n`);
    }
  }
}
