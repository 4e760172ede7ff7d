/**
 * A report as lines of text (`application/x-ndjson`): first what the entries follow, then for each
 * entry a line with what control must know to chain it, and a line with its body, as the journal has
 * it.
 *
 *     {"previousHash":"<64 hex>"}
 *     [seq, atMs, "kind", "operationId" | null, "outageId" | null, "hash"]
 *     {...}
 *
 * W1  A body is text on its way: neither side reads it to pass it on, its hash is over these very
 *     bytes, and one that nobody can read is the trouble of its own entry, never of the report.
 * W2  Each entry follows the one before it: only the first hash before is said.
 */

export const REPORT_LINES_TYPE = 'application/x-ndjson';
export const REPORT_LINES_MAX = 2_000;

/** One entry of a journal with its body as it is stored. */
export type ReportEntry = {
  readonly seq: number;
  readonly atMs: number;
  readonly kind: string;
  readonly operationId: string | null;
  readonly outageId: string | null;
  readonly bodyText: string;
  readonly hash: string;
};

export type Report = { readonly previousHash: string; readonly entries: readonly ReportEntry[] };

export type ReadReport =
  | { readonly ok: true; readonly report: Report }
  | { readonly ok: false; readonly problem: string };

export function writeReportLines({ previousHash, entries }: Report): string {
  let text = JSON.stringify({ previousHash });
  for (const entry of entries) text += `\n${headLine(entry)}\n${entry.bodyText}`;
  return text;
}

/** What an entry adds to a report, in UTF-16 units: its bytes where it is plain ASCII. */
export function linesLength(entry: ReportEntry): number {
  const ids = (entry.operationId?.length ?? 4) + (entry.outageId?.length ?? 4);
  return entry.bodyText.length + entry.kind.length + ids + ENVELOPE_LENGTH;
}

/** Two numbers of at most 16 digits, a hash, quotes and commas. */
const ENVELOPE_LENGTH = 120;

function headLine({ seq, atMs, kind, operationId, outageId, hash }: ReportEntry): string {
  return JSON.stringify([seq, atMs, kind, operationId, outageId, hash]);
}

export function readReportLines(text: string): ReadReport {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const count = (lines.length - 1) / 2;
  if (!Number.isInteger(count) || count < 1)
    return problem('the report has a line of its own and two for each entry');
  if (count > REPORT_LINES_MAX)
    return problem(`the report has ${count} entries: send at most ${REPORT_LINES_MAX}`);
  const first = parsed(lines[0] ?? '') as { previousHash?: unknown } | null | undefined;
  const previousHash = first?.previousHash;
  if (!isHash(previousHash)) return problem('line 1 names no previousHash');
  const entries: ReportEntry[] = [];
  for (let at = 1; at < lines.length; at += 2) {
    const head = readHead(lines[at] ?? '');
    if (head === null) return problem(`line ${at + 1} is not the head of an entry`);
    entries.push({ ...head, bodyText: lines[at + 1] ?? '' });
  }
  return { ok: true, report: { previousHash, entries } };
}

const KIND_LENGTH_MAX = 100;

function readHead(line: string): Omit<ReportEntry, 'bodyText'> | null {
  const head = parsed(line);
  if (!Array.isArray(head) || head.length !== 6) return null;
  const [seq, atMs, kind, operationId, outageId, hash] = head as unknown[];
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) return null;
  if (typeof atMs !== 'number' || !Number.isFinite(atMs)) return null;
  if (typeof kind !== 'string' || kind === '' || kind.length > KIND_LENGTH_MAX) return null;
  if (!isTextOrNull(operationId) || !isTextOrNull(outageId) || !isHash(hash)) return null;
  return { seq, atMs, kind, operationId, outageId, hash };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

const isTextOrNull = (value: unknown): value is string | null =>
  value === null || typeof value === 'string';

const HASH = /^[0-9a-f]{64}$/;
const isHash = (value: unknown): value is string => typeof value === 'string' && HASH.test(value);

const problem = (text: string): ReadReport => ({ ok: false, problem: text });

/** The same as JSON, for a control that takes no lines: it reads the bodies, and hashes them anew. */
export function writeReportJson({ previousHash, entries }: Report): string {
  let before = previousHash;
  const events = entries.map(({ bodyText, ...entry }) => {
    const { hash, ...content } = entry;
    const head = JSON.stringify({ ...content, previousHash: before, hash });
    before = hash;
    return `${head.slice(0, -1)},"body":${bodyText}}`;
  });
  return `{"events":[${events.join(',')}]}`;
}
