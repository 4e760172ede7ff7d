/**
 * JUnit's XML, as CI systems read it: one suite a file, one case a test. There is no `time`: what a
 * decision takes is below what the form can say.
 */

export type JunitSuite = { readonly name: string; readonly cases: readonly JunitCase[] };

export type JunitCase = {
  readonly name: string;
  readonly file: string;
  readonly line: number | null;
  readonly verdict:
    | { readonly kind: 'passed' }
    /** The policy decides otherwise than the test says. */
    | { readonly kind: 'failure'; readonly message: string; readonly detail: string }
    /** It could not be run. */
    | { readonly kind: 'error'; readonly message: string; readonly detail: string };
};

export function junitReport(suites: readonly JunitSuite[]): string {
  const all = suites.flatMap(({ cases }) => cases);
  const body = suites.map(
    ({ name, cases }) =>
      `  <testsuite${attributes({ name, ...counts(cases) })}>\n${cases.map(caseText).join('')}  </testsuite>\n`,
  );
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites${attributes({ name: 'holdfast policy test', ...counts(all) })}>\n${body.join('')}</testsuites>\n`;
}

function counts(cases: readonly JunitCase[]): Readonly<Record<string, number>> {
  const ofKind = (kind: string): number =>
    cases.filter(({ verdict }) => verdict.kind === kind).length;
  return { tests: cases.length, failures: ofKind('failure'), errors: ofKind('error'), skipped: 0 };
}

function caseText({ name, file, line, verdict }: JunitCase): string {
  const place = line === null ? { file } : { file, line };
  const head = `    <testcase${attributes({ name, classname: file, ...place })}`;
  if (verdict.kind === 'passed') return `${head}/>\n`;
  const { kind, message, detail } = verdict;
  return `${head}>\n      <${kind}${attributes({ message, type: kind })}>${escapeXml(detail)}</${kind}>\n    </testcase>\n`;
}

function attributes(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    .map(([name, value]) => ` ${name}="${escapeXml(String(value)).replaceAll('\n', '&#10;')}"`)
    .join('');
}

/** What XML 1.0 has no form for at all, not even escaped, is shown as JavaScript would write it. */
const IMPOSSIBLE = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\t': '&#9;',
  '\r': '&#13;',
};

function escapeXml(text: string): string {
  return text
    .replaceAll(
      IMPOSSIBLE,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    .replaceAll(/[&<>"\t\r]/g, (character) => ENTITIES[character] ?? character);
}
