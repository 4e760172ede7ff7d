/**
 * The recovery view as lines of NDJSON, the same from the sidecar and from the command. Each says its
 * list; the first has the verdict, and the last says how many came before it, so that a file that was
 * cut off is told from a whole one.
 */
import type { Operation, Refusal } from '../wire/operation.ts';
import type { Recovery, RecoveryList, RecoveryPage } from '../wire/recovery-api.ts';

export const NDJSON = 'application/x-ndjson';

export function recoveryHeadLine({ outage, verdict, summary, pruned, tally }: Recovery): string {
  return lineOf({ list: 'outage', outage, verdict, summary, pruned, tally });
}

/** The lines of a page; none for an empty one. */
export function recoveryPageLines({ list, items }: RecoveryPage): string {
  return items.map((item) => lineOf(entryOf(list, item))).join('');
}

export function recoveryEndLine(lines: number): string {
  return lineOf({ list: 'end', lines });
}

function entryOf(list: RecoveryList, item: Operation | Refusal): Readonly<Record<string, unknown>> {
  return list === 'refused' ? { list, refusal: item } : { list, operation: item };
}

const lineOf = (value: unknown): string => `${JSON.stringify(value)}\n`;
