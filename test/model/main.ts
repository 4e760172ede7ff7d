/**
 * The model of leases and fencing tokens, explored as deep as is asked for: `npm run model`. Exit
 * codes: 0 no breach and every mutant found, 1 otherwise, 2 wrong arguments.
 */
import { parseArgs } from 'node:util';
import { explore } from './explorer.ts';
import { TRUE_LAWS } from './laws.ts';
import { MUTANTS } from './mutants.ts';
import { SCENARIOS, type ScenarioName } from './scenarios.ts';

const DEPTH_DEFAULT = 10;
const MUTANT_DEPTH = 12;

const HELP = `npm run model -- [--depth N] [--scenario NAME] [--json]

Every way in which messages, clocks, crashes and restored copies can go, to a depth of N steps
(default ${DEPTH_DEFAULT}), over the functions that control and the sidecar decide with; then each broken
variant, which must be found out.

Scenarios: ${Object.keys(SCENARIOS).join('; ')}
`;

function main(): number {
  const { values } = parseArgs({
    options: {
      depth: { type: 'string', default: `${DEPTH_DEFAULT}` },
      scenario: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const names = Object.keys(SCENARIOS) as ScenarioName[];
  const chosen = names.filter((name) => name === (values.scenario ?? name));
  if (!/^\d{1,3}$/.test(values.depth) || chosen.length === 0) {
    process.stderr.write(HELP);
    return 2;
  }
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const explored = chosen.map((name) => {
    say(name);
    const limits = { depth: Number(values.depth) };
    return measured(name, () => explore(SCENARIOS[name], TRUE_LAWS, limits, say));
  });
  const mutants = MUTANTS.map(({ name, scenario, breaks, laws }) => {
    const found = measured(name, () => explore(scenario, laws, { depth: MUTANT_DEPTH }));
    return { ...found, isFound: found.breach?.what.startsWith(breaks) === true };
  });
  const passed =
    explored.every(({ breach }) => breach === null) && mutants.every(({ isFound }) => isFound);
  if (values.json) process.stdout.write(`${JSON.stringify({ passed, explored, mutants })}\n`);
  else process.stdout.write(reportText(explored, mutants));
  return passed ? 0 : 1;
}

type Measured = ReturnType<typeof explore> & { readonly name: string; readonly seconds: number };

function measured(name: string, run: () => ReturnType<typeof explore>): Measured {
  const startedMs = performance.now();
  const exploration = run();
  return { name, seconds: Math.round((performance.now() - startedMs) / 100) / 10, ...exploration };
}

function reportText(
  explored: readonly Measured[],
  mutants: readonly (Measured & { readonly isFound: boolean })[],
): string {
  const row = ({ name, states, depth, isClosed, seconds, transitions }: Measured): string =>
    `${name.padEnd(44)} depth ${String(depth).padStart(2)}${isClosed ? ' (all)' : ''}` +
    `  ${states} states, ${transitions} steps, ${seconds} s`;
  return [
    ...explored.flatMap((one) => [row(one), ...breachLines(one)]),
    '',
    ...mutants.map((one) => `${row(one)}: ${one.isFound ? 'found' : 'NOT FOUND'}`),
    '',
  ].join('\n');
}

function breachLines({ breach }: Measured): string[] {
  if (breach === null) return [];
  return [`  BREACH ${breach.what}`, ...breach.trace.map((step, index) => `    ${index}  ${step}`)];
}

function exitCodeOf(error: unknown): number {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
  return 2;
}

try {
  process.exitCode = main();
} catch (error) {
  if (!(error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')) throw error;
  process.exitCode = exitCodeOf(error);
}
