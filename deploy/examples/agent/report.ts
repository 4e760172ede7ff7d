/** The end of the story, for people. */
import { styleText } from 'node:util';
import type { Account } from './account.ts';
import type { Told as ToldCall } from './agent.ts';
import type { RecordedTurn } from './turn-file.ts';

/** Of one conversation. */
export type Report = {
  readonly seed: number | null;
  readonly conversation: string;
  readonly turns: readonly RecordedTurn[];
  readonly told: readonly ToldCall[];
  readonly killed: number;
  readonly missed: number;
  readonly settledByLedger: number;
  readonly account: Account;
};

const SHOWN = 5;

/** The first in full, and a line of each other. */
export function printReports([first, ...others]: readonly Report[]): void {
  if (first === undefined) return;
  printConversation(first);
  if (others.length > 0) section('The same conversation with kills at other points');
  for (const { conversation, told, killed, account } of others) {
    const count = (status: ToldCall['status']): number =>
      told.filter((call) => call.status === status).length;
    process.stdout.write(
      `  ${conversation.padEnd(10)} ${account.operations} operations, ${account.entries} calls in the ledger, ` +
        `${killed} killed, told as unknown ${count('unknown')}\n`,
    );
  }
  const all = (of: (account: Account) => readonly string[]): readonly string[] =>
    [first, ...others].flatMap(({ account }) => of(account));
  section('Ledger of the desk, journal on disk and transcript of the agent compared');
  verdict(
    'done by the journal, not in the ledger',
    all(({ lost }) => lost),
  );
  verdict(
    'done twice, or two operations',
    all(({ doubled }) => doubled),
  );
  verdict(
    'in the ledger, not explained by the journal',
    all(({ unexplained }) => unexplained),
  );
  verdict(
    'told otherwise than it was',
    all(({ toldWrong }) => toldWrong),
  );
  verdict(
    'not ended, or not explained',
    all(({ unsettled }) => unsettled),
  );
}

function printConversation(report: Report): void {
  const { turns, told, account } = report;
  section('What the model said, what it called, and what it was told');
  for (const [index, { says }] of turns.entries()) {
    process.stdout.write(`  ${String(index + 1).padStart(2)}  ${says}\n`);
    for (const call of told) if (call.turn === index + 1) printCall(call);
  }
  const count = (status: ToldCall['status']): number =>
    told.filter((call) => call.status === status).length;
  section('What came of it');
  row('calls proposed', told.length);
  row('  told as done', count('succeeded'));
  row('    of them answered from the record', told.filter(({ replayed }) => replayed).length);
  row('  told as refused or failed', count('refused') + count('failed'));
  row('  told as waiting for an approval', count('pending'));
  row('  told as unknown', count('unknown'));
  row('operations in the journal', account.operations);
  row('calls in the ledger of the desk', account.entries);
  row('outcomes unknown, settled by that ledger', report.settledByLedger);
  row('processes killed in the middle of a call', report.killed);
  if (report.missed > 0) row('points of a kill that were not come to', report.missed);
}

function printCall({ tool, args, status, replayed, detail }: ToldCall): void {
  const call = `${tool} ${Object.values(args).join(', ')}`;
  const word = replayed ? `${status}, from the record` : status;
  const why = status === 'succeeded' ? '' : `  ${styleText('dim', detail.slice(0, 90))}`;
  process.stdout.write(`        ${call.slice(0, 52).padEnd(54)}${word}${why}\n`);
}

function section(title: string): void {
  process.stdout.write(`\n${styleText('bold', title)}\n`);
}

function row(name: string, value: number): void {
  process.stdout.write(`  ${name.padEnd(48)} ${String(value).padStart(4)}\n`);
}

function verdict(name: string, found: readonly string[]): void {
  const value = styleText(found.length === 0 ? 'green' : 'red', String(found.length).padStart(4));
  process.stdout.write(`  ${name.padEnd(48)} ${value}\n`);
  for (const line of found.slice(0, SHOWN)) process.stdout.write(`      ${line}\n`);
  if (found.length > SHOWN) process.stdout.write(`      and ${found.length - SHOWN} more\n`);
}
