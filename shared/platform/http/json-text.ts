/** Deeper than any honest body, and far from where recursion over it would end the stack. */
const NESTING_MAX = 64;

/**
 * Whether the arrays and objects of a JSON text stand deeper in each other than is accepted. It looks
 * at the text, before anything is parsed or walked recursively.
 */
function isNestedTooDeep(text: string, nestingMax: number): boolean {
  if (hasFewOpeners(text, nestingMax)) return false;
  let depth = 0;
  let isInString = false;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (isInString) {
      if (code === BACKSLASH) index += 1;
      else if (code === QUOTE) isInString = false;
    } else if (code === QUOTE) isInString = true;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      depth += 1;
      if (depth > nestingMax) return true;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth -= 1;
  }
  return false;
}

/** No deeper than it has openers, those in strings included: for most bodies that is enough. */
function hasFewOpeners(text: string, nestingMax: number): boolean {
  let openers = 0;
  for (const opener of ['{', '[']) {
    for (let at = text.indexOf(opener); at >= 0; at = text.indexOf(opener, at + 1)) {
      openers += 1;
      if (openers > nestingMax) return false;
    }
  }
  return true;
}

/** What is wrong with a JSON text before it is parsed, or `null`. */
export function jsonTextProblem(text: string, nestingMax = NESTING_MAX): string | null {
  if (isNestedTooDeep(text, nestingMax))
    return `the body is nested deeper than ${nestingMax} levels: flatten it`;
  // Rare enough to be looked at twice: JSON has no infinity, but a parser makes one of 1e400.
  return LARGE_EXPONENT.test(text) && hasInfinity(text) ? INFINITY_PROBLEM : null;
}

const LARGE_EXPONENT = /[0-9][eE]\+?[0-9]{3}/;
const INFINITY_PROBLEM = 'the body has a number beyond the range of a double: write it as text';

function hasInfinity(text: string): boolean {
  let found = false;
  try {
    JSON.parse(text, (_key, value: unknown) => {
      found ||= value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY;
      return value;
    });
  } catch {
    // What is no JSON at all is told by the parser proper.
  }
  return found;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
