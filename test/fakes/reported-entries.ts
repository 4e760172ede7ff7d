/** What a report to control says, in either form. */
import type { JournalEvent } from '../../shared/wire/operation.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { readReportLines } from '../../shared/wire/report-lines.ts';

export function reportedIn(text: string): readonly JournalEvent[] {
  if (text.startsWith('{"events"'))
    return (JSON.parse(text) as { events: readonly JournalEvent[] }).events;
  const read = readReportLines(text);
  if (!read.ok) throw new HoldfastError('invalid_request', read.problem);
  let { previousHash } = read.report;
  return read.report.entries.map(({ bodyText, kind, ...entry }) => {
    const body = JSON.parse(bodyText) as JournalEvent['body'];
    const event = { ...entry, kind: kind as JournalEvent['kind'], body, previousHash };
    previousHash = entry.hash;
    return event;
  });
}
