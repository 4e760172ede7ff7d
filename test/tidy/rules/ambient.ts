/**
 * Time, randomness, and the process: reached from one place each, so that a simulation can stand
 * in.
 */
import { findInCode, importsOf, isUnder } from '../source-tree.ts';
import type { Finding, SourceFile } from '../source-tree.ts';
import type { Rule } from './rule.ts';

const DAEMONS = ['shared/', 'control/', 'dataplane/'];

const CLOCK_OUT = 'take the clock as an argument; only shared/platform reads it';
const TIMER_OUT = "wait through the clock's port; only shared/platform starts timers";
const RANDOM_OUT = 'take the random port as an argument; only shared/platform draws';

const TIME_AND_CHANCE: readonly (readonly [RegExp, string])[] = [
  [/\bDate\s*\.\s*now\b/, CLOCK_OUT],
  [/\bnew\s+Date\b(?!\s*\(\s*[^\s)])/, CLOCK_OUT],
  [/(?<!\bnew\s+)(?<![\w$.])Date\s*\(/, CLOCK_OUT],
  [/\bperformance\s*\.\s*now\b/, CLOCK_OUT],
  [/\bprocess\s*\.\s*(?:hrtime|uptime)\b/, CLOCK_OUT],
  [/\bos\s*\.\s*uptime\b/, CLOCK_OUT],
  [/(?<![\w$.])(?:setTimeout|setInterval|setImmediate)\b/, TIMER_OUT],
  [/\b(?:globalThis|timers)\s*\.\s*set(?:Timeout|Interval|Immediate)\b/, TIMER_OUT],
  [/\bAbortSignal\s*\.\s*timeout\b/, TIMER_OUT],
  [/\bMath\s*\.\s*random\b/, RANDOM_OUT],
  [/\b(?:randomUUID|randomBytes|randomInt|randomFillSync|getRandomValues)\b/, RANDOM_OUT],
];

export const timeAndChance: Rule = {
  title: 'time, timers and randomness only in shared/platform',
  check: (files) =>
    files.filter(isDaemonCode).flatMap((file) => {
      if (isUnder(file.path, ['shared/platform/'])) return [];
      return [
        ...TIME_AND_CHANCE.flatMap(([pattern, wayOut]) => findInCode(file, pattern, wayOut)),
        ...findImports(file, /^(?:node:)?timers(?:\/promises)?$/, TIMER_OUT),
      ];
    }),
};

const MAIN_FILES = ['control/main.ts', 'dataplane/main.ts', 'control/cli/main.ts'];
const PROCESS_FILES = [
  ...MAIN_FILES,
  'shared/platform/configuration.ts',
  'shared/platform/shutdown.ts',
];

const ENVIRONMENT = /\bprocess\s*(?:\.|\?\.)\s*(?:env|argv|exit|abort|reallyExit)\b/;
const EXIT_CODE = /\bprocess\s*\.\s*exitCode\b/;

export const processEdges: Rule = {
  title: 'the environment, the arguments and the exit only in main.ts, configuration and shutdown',
  check: (files) =>
    files.filter(isDaemonCode).flatMap((file) => {
      if (PROCESS_FILES.includes(file.path)) return [];
      const wayOut = `pass it in from ${PROCESS_FILES.join(', ')}`;
      return [
        ...findInCode(file, ENVIRONMENT, wayOut),
        ...(isUnder(file.path, ['control/cli/']) ? [] : findInCode(file, EXIT_CODE, wayOut)),
        ...findImports(
          file,
          /^(?:node:)?process$/,
          `use the global \`process\`, and only where allowed`,
        ),
      ];
    }),
};

/** TypeScript only: a `.js` file is served to the browser, which has its own clock and no ports. */
function isDaemonCode({ path }: SourceFile): boolean {
  return path.endsWith('.ts') && isUnder(path, DAEMONS);
}

function findImports(file: SourceFile, pattern: RegExp, wayOut: string): Finding[] {
  return importsOf(file)
    .filter(({ specifier }) => pattern.test(specifier))
    .map(({ specifier, line }) => ({ path: file.path, line, message: `${specifier}: ${wayOut}` }));
}
