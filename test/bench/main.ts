/** Benchmarks: ratios against a baseline of the same run, on the machine at hand. */
import { parseArgs } from 'node:util';
import { benchAdmit } from './admit.ts';

const HELP = `npm run bench -- <what> [--rounds N] [--requests N] [--connections N] [--json]

  admit   admission, durable before the answer, against a bare Fastify route with the same schemas
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    requests: { type: 'string', default: '20000' },
    connections: { type: 'string', default: '64' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const say = (text: string): void => void process.stderr.write(`${text}\n`);

if (values.help || positionals.length === 0) {
  process.stdout.write(HELP);
} else if (positionals[0] === 'admit') {
  const figures = await benchAdmit({
    rounds: Number(values.rounds),
    requests: Number(values.requests),
    connections: Number(values.connections),
    say,
  });
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else {
    for (const [name, value] of Object.entries(figures)) {
      const text = typeof value === 'number' ? Number(value.toPrecision(4)).toString() : '-';
      process.stdout.write(`${name.padEnd(20)} ${text.padStart(10)}\n`);
    }
  }
} else {
  say(`there is no benchmark ${positionals[0]}\n${HELP}`);
  process.exitCode = 2;
}
