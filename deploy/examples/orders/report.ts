/** The end of the demo, for people. */
import { styleText } from 'node:util';
import type { Operation, Recovery, Refusal } from '../../../shared/client/index.ts';
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
  /** Of all lists, each checked against the ledger and control. */
  readonly recoveryEntries: number;
  readonly recoveryWrong: readonly string[];
};

const SHOWN = 5;
const ENTRIES_SHOWN = 2;

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
  printList('accepted before, unfinished when it began', recovery.acceptedBefore);
  printList('continued under cached authority', recovery.continued);
  printList('stopped', recovery.stopped);
  printList('refused', recovery.refused);
  printList('needs reconciliation', recovery.needsReconciliation);
  verdict(`wrong, of ${report.recoveryEntries} entries checked`, report.recoveryWrong);
  section(
    `File, ledger, journal and control compared: ${report.operations} operations, ${report.explanations} explanations`,
  );
  verdict('lost', report.lost);
  verdict('doubled', report.doubled);
  verdict('divergent explanations', report.toldWrong);
}

type Listed = {
  readonly count: number;
  readonly oldestMs: number | null;
  readonly items: readonly (Operation | Refusal)[];
};

/** With how many of each state or reason are on its first page. */
function printList(name: string, { count, oldestMs, items }: Listed): void {
  const kinds = Map.groupBy(items, (item) => ('refusalId' in item ? item.reason : item.state));
  const first = [...kinds].map(([kind, of]) => `${kind} ${of.length}`).join(', ');
  const oldest = oldestMs === null ? '' : `the oldest ${formatDurationMs(oldestMs)} old; `;
  row(name, count, count === 0 ? '' : `${oldest}of the first ${items.length}: ${first}`);
  for (const item of items.slice(0, ENTRIES_SHOWN)) {
    const id = 'refusalId' in item ? item.refusalId : item.operationId;
    const what = 'refusalId' in item ? item.message : `${item.state} (${item.basis})`;
    process.stdout.write(`      ${id}  ${item.idempotencyKey}  ${what}\n`);
  }
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
