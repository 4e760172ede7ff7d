/** The account of all campaigns, for people: what was done, what it was held against, what was found. */
import { PROMISES, type Promised } from '../simulation/history.ts';
import { total } from './counts.ts';
import type { AllReport, CampaignAccount } from './all-campaigns.ts';

/** They need clocks that are moved for hours, and a witness of all machines. */
const ELSEWHERE = 'not held here: see npm run simulate';

const HELD: Readonly<Record<Promised, string>> = {
  I1: 'what was acknowledged is in the record after the fault, and nothing else',
  I2: 'a key names one operation, also when it is asked again',
  I3: 'a record names the revision it was admitted under (a revision that kills)',
  I4: ELSEWHERE,
  I5: ELSEWHERE,
  I6: 'no token below one that was accepted is accepted',
  I7: 'while one host believes that it owns the resource, no other does',
  I8: 'accepted work reaches its end (a full disk, a revision that kills)',
  I9: 'an effect that may begin once has begun once; a claim is not handed out twice',
  I10: 'work is acknowledged while the wire to control is bad',
  I11: 'the revision in force never goes down, and is the newest, or the last good one',
  I12: 'control shows each operation as the journal of the host has it',
};

export function allText(report: AllReport): string {
  const { seed, passed, seconds, minutes, commit, campaigns, failpoints, breaches } = report;
  const skipped = campaigns.filter((one) => one.skipped !== null).length;
  const part = skipped === 0 ? '' : `, ${skipped} of ${campaigns.length} campaigns skipped`;
  const lines = [
    `all: ${passed ? 'no lie' : 'FAILED'}${part}`,
    `  seed ${seed}, commit ${commit}, ${seconds} s of ${minutes * 60} s`,
    '',
    ...table(
      ['campaign', 'slices', 's', 'faults', 'checks', 'lies', 'broken'],
      campaigns.map((one) => campaignRow(one)),
    ),
    ...campaigns.flatMap(({ name, lies, breaches: own }) => [
      ...lies.map(({ kind, about, detail }) => `  LIE ${name}: ${kind}: ${about}: ${detail}`),
      ...own.map(({ what, detail }) => `  BROKEN ${name}: ${what}: ${detail}`),
    ]),
    '',
    ...table(['fault', 'times', 'by'], faultRows(campaigns)),
    '',
    ...table(
      ['promise', 'checks', 'what was checked'],
      PROMISES.map((name) => [name, `${checksOf(campaigns, name)}`, HELD[name]]),
    ),
    '',
    ...table(
      ['failpoint', 'times reached'],
      Object.entries(failpoints).map(([name, times]) => [name, `${times}`]),
    ),
    ...breaches.map(({ what, detail }) => `  BROKEN ${what}: ${detail}`),
  ];
  return `${lines.join('\n')}\n`;
}

function campaignRow(account: CampaignAccount): string[] {
  const { name, slices, seconds, faults, checks, lies, breaches, skipped } = account;
  if (skipped !== null) return [name, `SKIPPED: ${skipped}`];
  const numbers = [slices, seconds, total(faults), total(checks), lies.length, breaches.length];
  return [name, ...numbers.map(String)];
}

function faultRows(campaigns: readonly CampaignAccount[]): string[][] {
  const names = new Set(campaigns.flatMap(({ faults }) => Object.keys(faults)));
  return [...names].flatMap((fault) => {
    const by = campaigns.filter(({ faults }) => (faults[fault] ?? 0) > 0);
    const times = by.reduce((sum, { faults }) => sum + (faults[fault] ?? 0), 0);
    return times === 0 ? [] : [[fault, `${times}`, by.map(({ name }) => name).join(', ')]];
  });
}

function checksOf(campaigns: readonly CampaignAccount[], promise: Promised): number {
  return campaigns.reduce((sum, { checks }) => sum + (checks[promise] ?? 0), 0);
}

/** Numbers stand to the right; the last column of a row is as wide as it is. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, at) =>
    Math.max(...all.map((row) => (at < row.length - 1 ? (row[at]?.length ?? 0) : 0))),
  );
  return all.map((row) => {
    const cells = row.map((cell, at) => {
      const isNumber = /^\d+$/.test(cell) || (at > 0 && at < row.length - 1);
      const width = Math.max(widths[at] ?? 0, row === head ? 0 : (head[at]?.length ?? 0));
      return isNumber ? cell.padStart(width) : at === row.length - 1 ? cell : cell.padEnd(width);
    });
    return `  ${cells.join('  ')}`;
  });
}
