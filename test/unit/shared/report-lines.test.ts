import { describe, expect, test } from 'vitest';
import {
  REPORT_LINES_MAX,
  linesLength,
  readReportLines,
  writeReportJson,
  writeReportLines,
  type Report,
  type ReportEntry,
} from '../../../shared/wire/report-lines.ts';

const hash = (digit: string): string => digit.repeat(64);
const entry: ReportEntry = {
  seq: 7,
  atMs: 5,
  kind: 'admitted',
  operationId: 'op_"quoted"',
  outageId: null,
  bodyText: '{"a":"line\\nbreak","é":1}',
  hash: hash('b'),
};
const report: Report = {
  previousHash: hash('a'),
  entries: [entry, { ...entry, seq: 8, bodyText: 'no JSON at all', hash: hash('c') }],
};

describe('I12: a report in lines', () => {
  test('reads as it was written, bodies untouched', () => {
    const text = writeReportLines(report);
    expect(text.split('\n')).toHaveLength(5);
    expect(readReportLines(text)).toEqual({ ok: true, report });
    expect(readReportLines(`${text}\n`)).toEqual({ ok: true, report });
  });

  test('its length is known before it is written, and never too small', () => {
    const lines = writeReportLines({ ...report, entries: [entry] })
      .split('\n')
      .slice(1)
      .join('\n');
    expect(linesLength(entry)).toBeGreaterThanOrEqual(lines.length);
  });

  test('as JSON it says the same, with each hash before', () => {
    const json = writeReportJson({ ...report, entries: [entry, { ...entry, seq: 8 }] });
    const { events } = JSON.parse(json) as { events: Record<string, unknown>[] };
    expect(events[0]).toMatchObject({ seq: 7, body: { é: 1 }, previousHash: hash('a') });
    expect(events[1]).toMatchObject({ seq: 8, previousHash: hash('b'), hash: hash('b') });
  });

  const head = (...values: unknown[]): string => JSON.stringify(values);
  const good = [7, 5, 'admitted', null, null, hash('b')];
  const first = JSON.stringify({ previousHash: hash('a') });
  test.each([
    ['nothing', ''],
    ['no entry', first],
    ['half an entry', `${first}\n${head(...good)}`],
    ['no previous hash', `{}\n${head(...good)}\n{}`],
    ['a first line that is null', `null\n${head(...good)}\n{}`],
    ['a head that is no list', `${first}\n{}\n{}`],
    ['a head that is no JSON', `${first}\nx\n{}`],
    ['a number of an entry below 1', `${first}\n${head(0, ...good.slice(1))}\n{}`],
    ['a number over the safe ones', `${first}\n${head(2 ** 53, ...good.slice(1))}\n{}`],
    ['a kind of no name', `${first}\n${head(7, 5, '', null, null, hash('b'))}\n{}`],
    ['a kind too long', `${first}\n${head(7, 5, 'x'.repeat(101), null, null, hash('b'))}\n{}`],
    ['an id that is a number', `${first}\n${head(7, 5, 'x', 1, null, hash('b'))}\n{}`],
    ['a hash that is none', `${first}\n${head(7, 5, 'x', null, null, 'b')}\n{}`],
    ['more than there may be', `${first}${`\n${head(...good)}\n{}`.repeat(REPORT_LINES_MAX + 1)}`],
  ])('with %s is refused, and says where', (_, text) => {
    expect(readReportLines(text)).toEqual({
      ok: false,
      problem: expect.stringMatching(/line|entr/),
    });
  });
});
