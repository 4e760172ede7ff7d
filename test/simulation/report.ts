/** The table of a campaign. */
import { FAULT_KINDS, PROMISES } from './history.ts';
import type { CampaignReport, FailedSeed } from './campaign.ts';

const FAILED_SHOWN_MAX = 20;

export function reportText(
  report: CampaignReport,
  { wallSeconds }: { wallSeconds: number },
): string {
  const { seeds, simulatedHours, cpuSeconds, faults, calls, operations, checks, violations } =
    report;
  const perMinute = cpuSeconds === 0 ? 0 : (simulatedHours / cpuSeconds) * 60;
  const lines = [
    `seeds                ${seeds}`,
    `simulated hours      ${simulatedHours.toFixed(1)}`,
    `time                 ${wallSeconds.toFixed(1)} s, of processors ${cpuSeconds.toFixed(1)} s`,
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
    ...failedLines(report),
  ];
  return `${lines.join('\n')}\n`;
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
