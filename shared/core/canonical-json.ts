/**
 * RFC 8785 (JCS): one text for one JSON value, so that a digest of it means the value. ECMAScript's
 * own number and string forms are the ones the RFC asks for; keys are ordered by UTF-16 code units.
 */
import type { Steps } from './steps.ts';

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

export function canonicalJson(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${value} has no JSON form`);
    return `${value}`;
  }
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item)).join(',')}]`;
  if (typeof value === 'object') return objectText(value as Record<string, unknown>);
  throw new TypeError(`a ${typeof value} has no JSON form`);
}

/** So many items of a list between two pauses. */
const ITEMS_BETWEEN_PAUSES = 64;

/** The same text, with pauses between the members and within the lists of the value itself. */
export function* canonicalJsonSteps(value: unknown): Steps<string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return canonicalJson(value);
  const members: string[] = [];
  for (const key of sortedKeys(value)) {
    const member = (value as Readonly<Record<string, unknown>>)[key];
    if (member === undefined) continue;
    yield;
    members.push(
      `${quoted(key)}:${Array.isArray(member) ? yield* listSteps(member) : canonicalJson(member)}`,
    );
  }
  return `{${members.join(',')}}`;
}

function* listSteps(items: readonly unknown[]): Steps<string> {
  const texts: string[] = [];
  for (const item of items) {
    texts.push(canonicalJson(item));
    if (texts.length % ITEMS_BETWEEN_PAUSES === 0) yield;
  }
  return `[${texts.join(',')}]`;
}

function objectText(value: Readonly<Record<string, unknown>>): string {
  let members = '';
  for (const key of sortedKeys(value)) {
    const member = value[key];
    if (member === undefined) continue;
    if (members !== '') members += ',';
    members += `${quoted(key)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
}

/** Beyond it, moving keys costs more than a sort with its own memory; a caller chooses how many. */
const INSERTED_KEYS_MAX = 48;

/** `<` orders by UTF-16 code units, as `toSorted` does. Most objects have few keys, or sorted ones. */
function sortedKeys(value: object): readonly string[] {
  const keys = Object.keys(value);
  if (keys.length > INSERTED_KEYS_MAX) return keys.toSorted();
  for (let index = 1; index < keys.length; index += 1) {
    const key = keys[index] ?? '';
    if (key > (keys[index - 1] ?? '')) continue;
    let low = 0;
    let high = index;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    for (let place = index; place > low; place -= 1) keys[place] = keys[place - 1] ?? '';
    keys[low] = key;
  }
  return keys;
}

/** Beyond it, `JSON.stringify` is the faster one. */
const PLAIN_LENGTH_MAX = 64;

/** A short text of plain ASCII needs no escapes, and costs less to look at than to hand over. */
function quoted(text: string): string {
  if (text.length > PLAIN_LENGTH_MAX) return JSON.stringify(text);
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code < SPACE || code > TILDE || code === QUOTE || code === BACKSLASH)
      return JSON.stringify(text);
  }
  return `"${text}"`;
}

const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const TILDE = 0x7e;
