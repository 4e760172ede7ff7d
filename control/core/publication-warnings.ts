/** What is odd about a document beside the one in force: nothing that refuses it. */
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';

/** Below it a document may grow as it likes. */
const SIZE_BYTES_SMALL = 16 * 1024;

export function publicationWarnings(
  before: PolicyDocument | null,
  after: PolicyDocument,
): string[] {
  const warnings: string[] = [];
  if ((after.tests ?? []).length === 0) {
    warnings.push('the document has no tests: nothing says what it is meant to do');
  }
  if (before === null) return warnings;
  const [was, is] = [JSON.stringify(before).length, JSON.stringify(after).length];
  if (is > SIZE_BYTES_SMALL && is > was * 2) {
    warnings.push(
      `the document is ${(is / was).toFixed(1)} times the size of the one in force (${was} -> ${is} bytes)`,
    );
  }
  const shrunk = (what: string, from: number, to: number): void => {
    if (to * 2 <= from && from > 1) warnings.push(`of ${from} ${what} ${to} are left`);
  };
  shrunk('rules', before.rules.length, after.rules.length);
  shrunk('principals', Object.keys(before.principals).length, Object.keys(after.principals).length);
  shrunk('tests', before.tests?.length ?? 0, after.tests?.length ?? 0);
  return warnings;
}
