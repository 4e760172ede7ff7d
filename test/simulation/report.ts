/** The table of a campaign. */
import { readFileSync } from 'node:fs';
import { FAULT_KINDS, PROMISES } from './history.ts';
import type { CampaignReport, FailedSeed } from './campaign.ts';

const FAILED_SHOWN_MAX = 20;

export function reportText(
  report: CampaignReport,
  { wallSeconds }: { wallSeconds: number },
): string {
  const {
    seeds,
    takenOver,
    simulatedHours,
    cpuSeconds,
    faults,
    calls,
    operations,
    checks,
    violations,
  } = report;
  const perMinute = cpuSeconds === 0 ? 0 : (simulatedHours / cpuSeconds) * 60;
  const lines = [
    `seeds                ${seeds}${takenOver === 0 ? '' : `, of them ${takenOver} run before`}`,
    `simulated hours      ${simulatedHours.toFixed(1)}`,
    `time                 ${wallSeconds.toFixed(1)} s for this run, ${cpuSeconds.toFixed(1)} s of processors for all`,
    `simulated hours in a minute of one core: ${perMinute.toFixed(1)}`,
    `calls                ${counted(calls)}`,
    `operations           ${operations}`,
    '',
    'faults',
    ...FAULT_KINDS.filter((kind) => (faults[kind] ?? 0) > 0).map(
      (kind) => `  ${kind.padEnd(26)} ${faults[kind]}`,
    ),
    '',
    'promise     checks  violations',
    ...PROMISES.map(
      (promise) =>
        `  ${promise.padEnd(5)} ${String(checks[promise]).padStart(10)} ${String(violations[promise]).padStart(11)}`,
    ),
    '',
    `bugs of the daemons found and mended so far: ${bugsMended()} (test/simulation/found.md)`,
    ...failedLines(report),
  ];
  return `${lines.join('\n')}\n`;
}

/** Rows of the record, without the two of its head. */
function bugsMended(): number {
  const record = readFileSync(new URL('./found.md', import.meta.url), 'utf8');
  return Math.max(0, record.split('\n').filter((line) => line.startsWith('|')).length - 2);
}

function failedLines({ failed }: CampaignReport): string[] {
  if (failed.length === 0) return ['every promise held'];
  const lines = failed.slice(0, FAILED_SHOWN_MAX).map((one) => `  ${failedText(one)}`);
  const more = failed.length - lines.length;
  return [`${failed.length} seeds failed`, ...lines, ...(more > 0 ? [`  and ${more} more`] : [])];
}

export function failedText({ seed, violations, broken }: FailedSeed): string {
  const [first] = violations;
  const what = broken === null ? `${first?.promise}: ${first?.detail}` : `the run broke: ${broken}`;
  return `seed ${seed}  ${what}`;
}

function counted(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  return parts.join(', ');
}
