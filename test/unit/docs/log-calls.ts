/** Calls of a logger in source text, and the message that each says. */
import { splitText } from '../../tidy/source-text.ts';

export type LogCall = {
  readonly line: number;
  /** As it stands in quotes; `null` where it is put together at run time. */
  readonly message: string | null;
};

const CALL =
  /\b(?:logger|log)\s*\.\s*(?:trace|debug|info|warn|error|fatal)\s*\(|\blog\[level\]\s*\(/g;
const LAST_STRING = /(?:^|[,(\s])'((?:[^'\\]|\\.)*)'\s*,?\s*$/;

export function logCalls(text: string): LogCall[] {
  const { code } = splitText(text);
  return [...code.matchAll(CALL)].map(({ index, 0: opening }) => {
    const from = index + opening.length;
    const said = text.slice(from, endOfArguments(code, from));
    const message = LAST_STRING.exec(said)?.[1] ?? null;
    return { line: text.slice(0, index).split('\n').length, message };
  });
}

function endOfArguments(code: string, from: number): number {
  let depth = 1;
  for (let at = from; at < code.length; at += 1) {
    if ('([{'.includes(code[at] ?? ' ')) depth += 1;
    else if (')]}'.includes(code[at] ?? ' ')) depth -= 1;
    if (depth === 0) return at;
  }
  return code.length;
}
