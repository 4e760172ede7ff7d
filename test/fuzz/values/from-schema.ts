/** A value that fits a JSON schema, as far as its keywords say: what a careful caller would send. */
import { LETTERS, type Draw } from '../draw.ts';

export type Schema = { readonly [keyword: string]: unknown };
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

const DEPTH_MAX = 6;
const LENGTH_MAX = 40;

/** Values that are right in more than their form, by the name of the field. */
export type Hints = (field: string, draw: Draw) => Json | undefined;

/** What the patterns of the wire ask for; a pattern that none of them fits gets letters. */
const FORMS = [
  '30s',
  '5m',
  '1h',
  'agent:worker',
  'jobs.run',
  'orders/7',
  'a',
  'some-name',
  '1.0',
  '10/s',
  '"1"',
  '0'.repeat(64),
  'A'.repeat(43),
  '01890a5d-ac96-774b-bcce-b302099a8057',
  'a=b',
  'https://example.test/',
  'role:worker',
  '50%/1m',
] as const;

export class FromSchema {
  readonly #root: Schema;
  readonly #hints: Hints;

  constructor(root: Schema, hints: Hints) {
    this.#root = root;
    this.#hints = hints;
  }

  value(schema: unknown, draw: Draw, field = '', depth = 0): Json {
    if (typeof schema !== 'object' || schema === null) return anything(draw, depth);
    const known = this.resolve(schema as Schema);
    if (draw.chance(0.8)) {
      const hint = this.#hints(field, draw);
      if (hint !== undefined && mayBe(known, hint)) return hint;
    }
    if ('const' in known) return known['const'] as Json;
    const options = known['enum'] ?? known['anyOf'] ?? known['oneOf'];
    if (Array.isArray(options) && options.length > 0) {
      const chosen: unknown = draw.one(options);
      return 'enum' in known ? (chosen as Json) : this.value(chosen, draw, field, depth);
    }
    const all = known['allOf'];
    if (Array.isArray(all))
      return Object.assign({}, ...all.map((one) => this.value(one, draw, field, depth))) as Json;
    return this.#ofType(known, draw, field, depth);
  }

  /** Follows references to the end. */
  resolve(schema: Schema): Schema {
    let known = schema;
    for (let hops = 0; typeof known['$ref'] === 'string' && hops < 10; hops += 1)
      known = this.#at(known['$ref']);
    return known;
  }

  #at(reference: string): Schema {
    let found: unknown = this.#root;
    for (const part of reference.replace(/^#\//, '').split('/'))
      found = (found as Schema | undefined)?.[part];
    return (found ?? {}) as Schema;
  }

  #ofType(schema: Schema, draw: Draw, field: string, depth: number): Json {
    const type = Array.isArray(schema['type']) ? draw.one(schema['type']) : schema['type'];
    switch (type) {
      case 'object':
        return this.#object(schema, draw, depth);
      case 'array':
        return this.#array(schema, draw, field, depth);
      case 'string':
        return text(schema, draw);
      case 'integer':
      case 'number':
        return number(schema, draw);
      case 'boolean':
        return draw.chance(0.5);
      case 'null':
        return null;
      default:
        return anything(draw, depth);
    }
  }

  #object(schema: Schema, draw: Draw, depth: number): Json {
    const properties = (schema['properties'] ?? {}) as Record<string, unknown>;
    const required = (schema['required'] ?? []) as string[];
    const made: Record<string, Json> = {};
    const share = depth > DEPTH_MAX ? 0 : draw.one([0.1, 0.5, 0.9]);
    for (const [name, member] of Object.entries(properties)) {
      if (required.includes(name) || draw.chance(share))
        made[name] = this.value(member, draw, name, depth + 1);
    }
    const more = schema['additionalProperties'] ?? patternOf(schema);
    if (typeof more === 'object' && depth < DEPTH_MAX) {
      const most = Math.min(3, Number(schema['maxProperties'] ?? 3));
      const least = Number(schema['minProperties'] ?? 0);
      for (let count = draw.between(Math.min(least, most), most); count > 0; count -= 1)
        made[draw.one(['a', 'amount', 'region', 'jobs', 'agent:worker', 'orders', 'x-1'])] =
          this.value(more, draw, '', depth + 1);
    }
    return made;
  }

  #array(schema: Schema, draw: Draw, field: string, depth: number): Json {
    const least = Number(schema['minItems'] ?? 0);
    const most = Math.min(Number(schema['maxItems'] ?? 4), least + 4);
    const length = depth > DEPTH_MAX ? least : draw.between(least, Math.max(least, most));
    return Array.from({ length }, () =>
      this.value(schema['items'] ?? {}, draw, field.replace(/s$/, ''), depth + 1),
    );
  }
}

/** As far as its type says. */
function mayBe({ type }: Schema, value: Json): boolean {
  if (typeof type !== 'string') return true;
  if (type === 'object') return typeof value === 'object' && value !== null;
  if (type === 'array') return Array.isArray(value);
  return typeof value === (type === 'integer' ? 'number' : type);
}

function patternOf(schema: Schema): unknown {
  const patterns = (schema['patternProperties'] ?? {}) as Readonly<Record<string, unknown>>;
  return Object.values(patterns)[0];
}

function text(schema: Schema, draw: Draw): string {
  const least = Number(schema['minLength'] ?? 0);
  const most = Math.min(Number(schema['maxLength'] ?? LENGTH_MAX), least + LENGTH_MAX);
  const { pattern } = schema;
  if (typeof pattern === 'string') {
    const form = new RegExp(pattern, 'u');
    const fitting = FORMS.filter((one) => form.test(one));
    if (fitting.length > 0) return draw.one(fitting);
  }
  return draw.text(LETTERS, draw.between(least, Math.max(least, most)));
}

function number(schema: Schema, draw: Draw): number {
  const least = Number(schema['minimum'] ?? 0);
  const most = Number(schema['maximum'] ?? 1_000_000);
  if (draw.chance(0.3)) return draw.one([least, most]);
  const span = Math.min(most - least, draw.one([3, 100, 1_000_000]));
  return least + draw.below(Math.max(1, Math.floor(span) + 1));
}

export function anything(draw: Draw, depth = 0): Json {
  const kinds = depth > 4 ? 4 : 6;
  switch (draw.below(kinds)) {
    case 0:
      return draw.chance(0.5);
    case 1:
      return draw.below(1_000);
    case 2:
      return null;
    case 3:
      return draw.text(LETTERS, draw.below(12));
    case 4:
      return Array.from({ length: draw.below(3) }, () => anything(draw, depth + 1));
    default:
      return { [draw.text(LETTERS, 3)]: anything(draw, depth + 1) };
  }
}
