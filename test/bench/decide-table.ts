/** The figures of decisions for people, and beside each goal what was measured. */
import type { DecideFigures } from './decide.ts';

/** What is aimed for; `measured` is `null` where a rival was absent. */
type Goal = { readonly text: string; readonly measured: number | null; readonly isMet: boolean };

export function decideTable(figures: DecideFigures): string {
  const { inProcess, http, publication } = figures;
  const lines = [
    row('decisions a second (CPU, HTTP: clock)', 'Holdfast', 'rival', 'ratio'),
    ...inProcess.map(({ rules, perSecond, cedarPerSecond, ratio }) =>
      row(
        `in process, ${rules} rules (Cedar)`,
        count(perSecond),
        count(cedarPerSecond),
        times(ratio),
      ),
    ),
    row('  admission policy, 50 rules', count(figures.admissionPolicyPerSecond), '', ''),
    ...(http ?? []).map(({ rules, perSecond, cerbosPerSecond, ratio }) =>
      row(
        `over HTTP, ${rules} rules (Cerbos)`,
        count(perSecond),
        count(cerbosPerSecond),
        times(ratio),
      ),
    ),
    ...(http ?? []).map(({ rules, p99Ms, cerbosP99Ms }) =>
      row(`  p99 ms, ${rules} rules`, milliseconds(p99Ms), milliseconds(cerbosP99Ms), ''),
    ),
    ...(http ?? []).map(({ rules, cpuUs, cerbosCpuUs, cpuRatio }) =>
      row(
        `  CPU us each, ${rules} rules`,
        milliseconds(cpuUs),
        milliseconds(cerbosCpuUs),
        times(cpuRatio),
      ),
    ),
    '',
    row(
      `${publication.rules} rules, ${Math.round(publication.bytes / 1_024)} KiB`,
      'median',
      'first',
      '',
    ),
    row(
      '  gates, CPU ms',
      milliseconds(publication.gatesMedianMs),
      milliseconds(publication.gatesFirstMs),
      '',
    ),
    row(
      '  compile, CPU ms',
      milliseconds(publication.compileMedianMs),
      milliseconds(publication.compileFirstMs),
      '',
    ),
    '',
    ...goalsOf(figures).map(({ text, measured, isMet }) =>
      row(text, measured === null ? '-' : measured.toPrecision(3), verdict(measured, isMet), ''),
    ),
  ];
  return `${lines.join('\n')}\n`;
}

/** The worst over all sizes counts. */
function goalsOf({ inProcess, http, growthOfCost, publication }: DecideFigures): Goal[] {
  const lowest = (ratios: readonly (number | null)[]): number | null => {
    const known = ratios.filter((ratio) => ratio !== null);
    return known.length === 0 ? null : Math.min(...known);
  };
  const cerbos = lowest((http ?? []).map(({ ratio }) => ratio));
  const cedar = lowest(inProcess.map(({ ratio }) => ratio));
  const { gatesFirstMs, compileFirstMs } = publication;
  return [
    { text: 'at least 5 x Cerbos, HTTP', measured: cerbos, isMet: (cerbos ?? 0) >= 5 },
    { text: 'at least 20 x Cedar, in process', measured: cedar, isMet: (cedar ?? 0) >= 20 },
    {
      text: 'cost at most rules / fewest <= 1.3',
      measured: growthOfCost,
      isMet: growthOfCost <= 1.3,
    },
    { text: 'gates under 1,000 ms', measured: gatesFirstMs, isMet: gatesFirstMs < 1_000 },
    { text: 'compiled under 200 ms', measured: compileFirstMs, isMet: compileFirstMs < 200 },
  ];
}

function verdict(measured: number | null, isMet: boolean): string {
  if (measured === null) return 'unknown';
  return isMet ? 'met' : 'MISSED';
}

function row(label: string, ...cells: readonly string[]): string {
  return `${label.padEnd(38)}${cells.map((cell) => cell.padStart(12)).join('')}`.trimEnd();
}

const count = (value: number | null): string =>
  value === null ? '-' : Math.round(value).toLocaleString('en-US');
const times = (value: number | null): string => (value === null ? '-' : `${value.toFixed(1)}x`);
const milliseconds = (value: number | null): string => (value === null ? '-' : value.toFixed(1));
