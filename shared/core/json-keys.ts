/**
 * Keys that an object of a JSON text has twice. `JSON.parse` keeps the last of them and says nothing,
 * so who reads the first and who runs the last would see two documents.
 */
export type RepeatedKey = { readonly key: string; readonly offset: number };

/** Of a text that `JSON.parse` takes, in its order. */
export function repeatedKeys(text: string): RepeatedKey[] {
  const repeated: RepeatedKey[] = [];
  /** For each open object the keys so far, for each open list `null`. */
  const open: (Set<string> | null)[] = [];
  let isKeyNext = false;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = stringEnd(text, at);
        const keys = open.at(-1);
        if (isKeyNext && keys instanceof Set) {
          const key = keyAt(text, at, end);
          if (keys.has(key)) repeated.push({ key, offset: at });
          keys.add(key);
        }
        isKeyNext = false;
        at = end;
        break;
      }
      case OPEN_OBJECT:
        open.push(new Set());
        isKeyNext = true;
        break;
      case OPEN_LIST:
        open.push(null);
        isKeyNext = false;
        break;
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        open.pop();
        isKeyNext = false;
        break;
      case COMMA:
        isKeyNext = open.at(-1) instanceof Set;
        break;
      default:
    }
  }
  return repeated;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Of the string that begins at `start`, the place of its last quote. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at;
}

/** Two ways to write one key are one key. */
function keyAt(text: string, start: number, end: number): string {
  const raw = text.slice(start + 1, end);
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
}
