/** A CEL value as JSON text for people, cut before it is long: a value can be large. */
import type { ShownValue } from '../core/policy.ts';

const TEXT_MAX = 1_000;

export function showValue(value: unknown): ShownValue {
  const writer = new BoundedText(TEXT_MAX);
  write(value, writer);
  return { ok: true, text: writer.text, isCut: writer.isFull };
}

class BoundedText {
  text = '';
  isFull = false;
  readonly #lengthMax: number;

  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax;
  }

  add(text: string): void {
    if (this.isFull) return;
    this.text += text;
    if (this.text.length <= this.#lengthMax) return;
    // Never half of a pair of surrogates.
    this.text = this.text.slice(0, this.#lengthMax).toWellFormed();
    this.isFull = true;
  }
}

function write(value: unknown, to: BoundedText): void {
  if (to.isFull) return;
  if (typeof value === 'string') to.add(JSON.stringify(value.slice(0, TEXT_MAX + 1)));
  else if (Array.isArray(value)) {
    to.add('[');
    value.forEach((element, index) => {
      if (index > 0) to.add(',');
      write(element, to);
    });
    to.add(']');
  } else if (isMap(value)) {
    to.add('{');
    const members = value instanceof Map ? [...value] : Object.entries(value);
    members.forEach(([key, member], index) => {
      to.add(`${index > 0 ? ',' : ''}${JSON.stringify(key)}:`);
      write(member, to);
    });
    to.add('}');
  } else to.add(scalarText(value));
}

/** A principal and a resource are maps of the library's own. */
function isMap(value: unknown): value is Record<string, unknown> | Map<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  return value.constructor === Object || value instanceof Map;
}

function scalarText(value: unknown): string {
  if (typeof value === 'number' && !Number.isFinite(value)) return JSON.stringify(`${value}`);
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return `${value}`;
  if (typeof value === 'bigint') return `${value}`;
  // Times, durations and types are shown as they are written.
  if (value instanceof Date) return JSON.stringify(value.toISOString());
  return JSON.stringify((value as { toString(): string }).toString());
}
