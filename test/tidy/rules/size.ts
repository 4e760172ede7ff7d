import { isCode, isUnder, partsOf } from '../source-tree.ts';
import type { Finding, SourceFile } from '../source-tree.ts';
import type { Rule } from './rule.ts';

const FILE_LINES_MAX = 500;
const FUNCTION_LINES_MAX = 100;
/** The formatter aims at 100; the rest is for what it cannot break. */
const COLUMNS_MAX = 110;
/** A sentence or a statement of SQL is read whole: one long literal may stick out, so far. */
const LITERAL_COLUMNS_MAX = 200;
const LITERAL = /'[^']{30,}'|"[^"]{30,}"|`[^`]{30,}`?|^\s*(?:[A-Z]{3,}|AND) .*$/;

export const fileLength: Rule = {
  title: `no source file over ${FILE_LINES_MAX} lines`,
  check: (files) =>
    files
      .filter(({ path }) => isCode(path) || /\.(?:sql|css|html|sh)$/.test(path))
      .flatMap(({ path, text }) => {
        const lines = linesOf(text).length;
        if (lines <= FILE_LINES_MAX) return [];
        return [
          { path, line: FILE_LINES_MAX + 1, message: `${lines} lines; split it by what it does` },
        ];
      }),
};

export const lineLength: Rule = {
  title: `no line over ${COLUMNS_MAX} columns`,
  check: (files) =>
    files
      .filter(({ path }) => isCode(path) || path.endsWith('.sql'))
      .flatMap(({ path, text }) =>
        linesOf(text).flatMap((line, index) => {
          // By code point.
          const columns = Array.from(line).length;
          if (columns <= (LITERAL.test(line) ? LITERAL_COLUMNS_MAX : COLUMNS_MAX)) return [];
          return [{ path, line: index + 1, message: `${columns} columns; break the line` }];
        }),
      ),
};

/**
 * The last line of a function's head. Control flow ends the same way and is told apart by its
 * keyword.
 */
const FUNCTION_HEAD = /(?:=>|\)(?:\s*:[^;=]*)?)\s*\{\s*$/;
const CONTROL_FLOW = /^\s*(?:\}\s*)?(?:else\b|if|for|while|switch|catch|do|try)\b/;
/** Its body is a list of tests, each a function of its own. */
const TEST_LIST = /^\s*describe\b/;

export const functionLength: Rule = {
  title: `no function over ${FUNCTION_LINES_MAX} lines`,
  check: (files) => files.filter(({ path }) => isCode(path)).flatMap(longFunctions),
};

/**
 * Goes by indentation, which the formatter guarantees: a body ends at the first `}` as deep as its
 * head.
 */
function longFunctions(file: SourceFile): Finding[] {
  const lines = linesOf(partsOf(file).code);
  return lines.flatMap((line, index) => {
    if (!FUNCTION_HEAD.test(line) || CONTROL_FLOW.test(line)) return [];
    if (isUnder(file.path, ['test/']) && TEST_LIST.test(line)) return [];
    const indent = line.search(/\S/);
    const end = lines.findIndex(
      (later, at) => at > index && later.startsWith('}', indent) && later.search(/\S/) === indent,
    );
    const length = (end === -1 ? lines.length : end) - index + 1;
    if (length <= FUNCTION_LINES_MAX) return [];
    return [
      {
        path: file.path,
        line: index + 1,
        message: `a function of ${length} lines; name its parts`,
      },
    ];
  });
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}
