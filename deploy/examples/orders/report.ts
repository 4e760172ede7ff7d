/** The end of the demo, for people. */
import { styleText } from 'node:util';
import type { Recovery } from '../../../shared/client/index.ts';
import { formatDurationMs } from '../../../shared/core/time.ts';

export type Report = {
  readonly seed: number;
  readonly linesRead: number;
  readonly badLines: readonly string[];
  readonly ordersRead: number;
  readonly admitted: number;
  readonly refusedByRule: number;
  readonly deduplicated: number;
  readonly conflicting: number;
  readonly executedWhileControlWasDown: number;
  readonly refusedForFreshAuthority: number;
  readonly settledByProbe: number;
  readonly askedAgain: number;
  readonly controlAwayMs: number;
  readonly operations: number;
  readonly explanations: number;
  readonly staleOwnerFenced: boolean;
  readonly lost: readonly string[];
  readonly doubled: readonly string[];
  readonly toldWrong: readonly string[];
  readonly recovery: Recovery;
};

const SHOWN = 5;

export function printReport(report: Report): void {
  const { recovery } = report;
  section('Orders');
  row('lines read', report.linesRead);
  row(
    'bad lines, told with their place',
    report.badLines.length,
    report.badLines.slice(0, 2).join('; '),
  );
  row('orders read', report.ordersRead);
  row('admitted', report.admitted);
  row('refused by rule', report.refusedByRule);
  row('deduplicated', report.deduplicated);
  row('same order, another amount: refused', report.conflicting);
  section(`Control away for ${formatDurationMs(report.controlAwayMs)}, the sidecar killed once`);
  row('executed while control was down', report.executedWhileControlWasDown);
  row(
    'refused because fresh authority was needed',
    report.refusedForFreshAuthority,
    'submitted again when control was back',
  );
  row('calls made again, no answer having come', report.askedAgain);
  row('outcome unknown, settled by asking the target', report.settledByProbe);
  row('write of a stale owner refused by the target', report.staleOwnerFenced ? 'yes' : 'NO');
  section(`Recovery view: ${recovery.verdict}`);
  process.stdout.write(`  ${recovery.summary}\n`);
  const note =
    "the outage lasts until the sidecar's next successful sync, and its counts include the notifications";
  process.stdout.write(`  ${styleText('dim', note)}\n`);
  row('accepted before, unfinished when it began', recovery.acceptedBefore.count);
  row('continued under cached authority', recovery.continued.count);
  row('stopped', recovery.stopped.count);
  row(
    'refused',
    recovery.refused.count,
    Object.entries(recovery.tally.refusedByReason)
      .map(([reason, count]) => `${reason} ${count}`)
      .join(', '),
  );
  row('needs reconciliation', recovery.needsReconciliation.count);
  section(
    `File, ledger, journal and control compared: ${report.operations} operations, ${report.explanations} explanations`,
  );
  verdict('lost', report.lost);
  verdict('doubled', report.doubled);
  verdict('divergent explanations', report.toldWrong);
}

function section(title: string): void {
  process.stdout.write(`\n${styleText('bold', title)}\n`);
}

function row(name: string, value: number | string, note = ''): void {
  process.stdout.write(
    `  ${name.padEnd(48)} ${String(value).padStart(6)}${note === '' ? '' : `  ${styleText('dim', note)}`}\n`,
  );
}

function verdict(name: string, found: readonly string[]): void {
  const value = styleText(found.length === 0 ? 'green' : 'red', String(found.length).padStart(6));
  process.stdout.write(`  ${name.padEnd(48)} ${value}\n`);
  for (const line of found.slice(0, SHOWN)) process.stdout.write(`      ${line}\n`);
  if (found.length > SHOWN) process.stdout.write(`      and ${found.length - SHOWN} more\n`);
}
