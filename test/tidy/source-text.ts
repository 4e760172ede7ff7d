/**
 * Splits TypeScript into code, comments and literals without a parser: TypeScript 7 has no compiler
 * API, and the rules need only to know which characters are code. Every answer has the length and
 * the line breaks of the text it was made from, so an offset means the same place in all of them.
 */
export type SplitText = {
  /**
   * Code alone; comments and the insides of strings, templates and regular expressions are blank.
   */
  readonly code: string;
  /** Comments alone. */
  readonly comments: string;
};

type Kind = 'code' | 'comment' | 'literal';

const REGEX_MAY_FOLLOW_WORD =
  /(?:^|[^\w$.])(?:return|typeof|case|in|of|do|else|void|delete|throw|await|yield)$/;

export function splitText(text: string): SplitText {
  const kinds: Kind[] = Array.from({ length: text.length }, () => 'code');
  /** For each template that is open: how many braces are open inside its current `${}`. */
  const templates: number[] = [];
  let at = 0;

  const mark = (end: number, kind: Kind): void => {
    kinds.fill(kind, at, end);
    at = end;
  };

  while (at < text.length) {
    const two = text.slice(at, at + 2);
    const one = text[at] ?? '';
    if (two === '//' || (at === 0 && two === '#!')) mark(endOfLine(text, at), 'comment');
    else if (two === '/*') mark(endAfter(text, '*/', at + 2), 'comment');
    else if (one === "'" || one === '"') {
      at += 1;
      mark(endOfQuoted(text, at, one), 'literal');
      at += 1;
    } else if (one === '`') {
      at += 1;
      mark(endOfTemplateChunk(text, at), 'literal');
      if (text[at] === '$') templates.push(0);
      at += text[at] === '$' ? 2 : 1;
    } else if (one === '{' && templates.length > 0) {
      templates[templates.length - 1]! += 1;
      at += 1;
    } else if (one === '}' && templates.length > 0) {
      at += 1;
      if (templates.at(-1)! > 0) templates[templates.length - 1]! -= 1;
      else {
        mark(endOfTemplateChunk(text, at), 'literal');
        if (text[at] !== '$') templates.pop();
        at += text[at] === '$' ? 2 : 1;
      }
    } else if (one === '/' && startsRegex(text, kinds, at)) {
      at += 1;
      mark(endOfRegex(text, at), 'literal');
      at += 1;
    } else at += 1;
  }
  return { code: keep(text, kinds, 'code'), comments: keep(text, kinds, 'comment') };
}

/** Line number, from 1, of an offset. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) {
    line += 1;
  }
  return line;
}

function keep(text: string, kinds: readonly Kind[], kind: Kind): string {
  const kept: string[] = [];
  // By code unit, not by code point: the offsets must stay.
  for (let at = 0; at < text.length; at += 1) {
    const unit = text[at] ?? '';
    kept.push(kinds[at] === kind || unit === '\n' ? unit : ' ');
  }
  return kept.join('');
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end === -1 ? text.length : end;
}

function endAfter(text: string, what: string, from: number): number {
  const end = text.indexOf(what, from);
  return end === -1 ? text.length : end + what.length;
}

function endOfQuoted(text: string, from: number, quote: string): number {
  let at = from;
  while (at < text.length && text[at] !== quote && text[at] !== '\n') {
    at += text[at] === '\\' ? 2 : 1;
  }
  return Math.min(at, text.length);
}

function endOfTemplateChunk(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== '`' && text.slice(at, at + 2) !== '${') {
    at += text[at] === '\\' ? 2 : 1;
  }
  return Math.min(at, text.length);
}

function endOfRegex(text: string, from: number): number {
  let at = from;
  let isInClass = false;
  while (at < text.length && text[at] !== '\n' && (isInClass || text[at] !== '/')) {
    if (text[at] === '[') isInClass = true;
    if (text[at] === ']') isInClass = false;
    at += text[at] === '\\' ? 2 : 1;
  }
  return Math.min(at, text.length);
}

/** A slash divides after a value and opens a regular expression anywhere else. */
function startsRegex(text: string, kinds: readonly Kind[], slashAt: number): boolean {
  let at = slashAt - 1;
  while (at >= 0 && (kinds[at] === 'comment' || /\s/.test(text[at] ?? ''))) at -= 1;
  if (at < 0) return true;
  const before = text[at] ?? '';
  if (/[\w$]/.test(before))
    return REGEX_MAY_FOLLOW_WORD.test(text.slice(Math.max(0, at - 12), at + 1));
  return !/[)\]}'"`]/.test(before);
}
