/** One request from the description of a daemon: right, or wrong in one of the ways that there are. */
import { ODD_TEXTS, type Draw } from '../draw.ts';
import { breakText, breakValue, textOf } from '../values/broken-value.ts';
import { FromSchema, type Hints, type Json } from '../values/from-schema.ts';
import { breakHeaders, breakTarget, breakWire, bytesOf, type Wire } from './broken-http.ts';
import type { Description, Route } from './description.ts';
import type { SeenValues } from './seen-values.ts';

export type Ask = Wire & {
  readonly method: string;
  readonly target: string;
  readonly kind: AskKind;
};
export type AskKind = 'right' | 'body' | 'text' | 'headers' | 'target' | 'method' | 'type' | 'wire';

export type Caller = {
  /** With what a caller that may do everything is known; by name, in small letters. */
  readonly headers: Readonly<Record<string, string>>;
  readonly hints: Hints;
};

const METHODS = [
  'GET',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'QUERY',
  'LINK',
];
const TYPES = [
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/json; charset=utf-16',
  'application/json;',
  'application/x-ndjson',
  'application/yaml',
  'application/jose',
  'APPLICATION/JSON',
  '',
  'a/b/c',
  '\u00e9',
];
/** Long polls would hold the run up; that they end is what their own tests say. */
const WAITS = ['0s', '1ms', '20ms', '-1s', 'soon', '1e3', ''];
const KINDS: readonly (readonly [number, AskKind])[] = [
  [30, 'right'],
  [28, 'body'],
  [10, 'text'],
  [10, 'headers'],
  [8, 'target'],
  [4, 'method'],
  [3, 'type'],
  [7, 'wire'],
];

/** How often a route is asked, against the others: most of the state is behind a few. */
function weightOf({ method, path }: Route): number {
  if (method === 'POST' && path === '/v1/operations') return 20;
  return /^\/v1\/(operations|sync|reports|policy$|registers|fences)/.test(path) ? 4 : 1;
}

export class RequestMaker {
  readonly #routes: readonly Route[];
  readonly #seen: SeenValues;
  readonly #caller: Caller;
  readonly #values: FromSchema;

  constructor(description: Description, parts: { seen: SeenValues; caller: Caller }) {
    this.#routes = description.routes.flatMap((route) =>
      Array.from({ length: weightOf(route) }, () => route),
    );
    this.#seen = parts.seen;
    this.#caller = parts.caller;
    this.#values = new FromSchema(description.root, (field, draw) => this.#hint(field, draw));
  }

  make(draw: Draw): Ask {
    const route = draw.one(this.#routes);
    const kind = draw.weighted(KINDS);
    const method = kind === 'method' ? draw.one(METHODS) : route.method;
    let target = this.#target(route, draw);
    if (kind === 'target') target = breakTarget(target, draw);
    const headers: [string, string][] = Object.entries(this.#caller.headers);
    for (const { name, in: place, required } of route.parameters) {
      if (
        place === 'header' &&
        (required === true || draw.chance(name === 'idempotency-key' ? 0.95 : 0.6))
      )
        headers.push([name, this.#header(name, draw)]);
    }
    const body = this.#body(route, kind, draw);
    if (body !== null) {
      const type = kind === 'type' ? draw.one(TYPES) : body.type;
      if (type !== '') headers.push(['content-type', type]);
      headers.push(['content-length', `${body.bytes.length}`]);
    }
    const whole = { method, target, headers, body: body?.bytes ?? Buffer.alloc(0) };
    const wire =
      kind === 'wire' || kind === 'headers'
        ? kind === 'wire'
          ? breakWire(whole, draw)
          : breakHeaders(whole, draw)
        : { bytes: bytesOf(whole), isAlone: kind !== 'right' && kind !== 'body', isCut: false };
    return { method, target, kind, ...wire };
  }

  #target(route: Route, draw: Draw): string {
    const path = route.path.replaceAll(/\{([^}]*)\}/g, (_, name: string) => {
      const parameter = route.parameters.find((one) => one.name === name && one.in === 'path');
      return encodeURIComponent(this.#text(name, parameter?.schema, draw).toWellFormed());
    });
    const query = route.parameters
      .filter(
        ({ in: place, required }) => place === 'query' && (required === true || draw.chance(0.4)),
      )
      .map(({ name, schema }) => {
        const value = name === 'wait' ? draw.one(WAITS) : this.#text(name, schema, draw);
        return `${name}=${encodeURIComponent(value.toWellFormed())}`;
      });
    if (
      route.parameters.some(({ name }) => name === 'wait') &&
      !query.some((one) => one.startsWith('wait='))
    )
      query.push('wait=0s');
    return query.length === 0 ? path : `${path}?${query.join('&')}`;
  }

  #text(
    name: string,
    schema: Route['parameters'][number]['schema'] | undefined,
    draw: Draw,
  ): string {
    if (draw.chance(0.08)) return draw.one(ODD_TEXTS);
    const known = draw.chance(0.75) ? this.#seen.some(name, draw) : undefined;
    return known ?? plain(this.#values.value(schema ?? {}, draw, name));
  }

  #header(name: string, draw: Draw): string {
    if (name === 'idempotency-key') return `key-${draw.below(draw.one([20, 1_000_000_000]))}`;
    if (/^if-(none-)?match$/.test(name))
      return this.#seen.some('etag', draw) ?? draw.one(['*', '"1"', '"2"', 'W/"1"']);
    if (name === 'accept')
      return draw.one(['*/*', 'text/event-stream', 'application/x-ndjson', 'a']);
    return draw.one(['1', 'some words', '"1"']);
  }

  #hint(field: string, draw: Draw): Json | undefined {
    const given = this.#caller.hints(field, draw);
    if (given !== undefined) return given;
    const seen = draw.chance(0.5) ? this.#seen.some(field, draw) : undefined;
    if (seen === undefined) return undefined;
    return /^\d+$/.test(seen) && /Revision|attempt/.test(field) ? Number(seen) : seen;
  }

  #body(route: Route, kind: AskKind, draw: Draw): { type: string; bytes: Buffer } | null {
    if (route.bodies.size === 0) {
      const isGiven = kind === 'body' || kind === 'text';
      return isGiven ? { type: 'application/json', bytes: Buffer.from('{}') } : null;
    }
    const [type, schema] = draw.one([...route.bodies]);
    const good = this.#values.value(schema, draw);
    if (kind === 'body') return { type, bytes: Buffer.from(textOf(breakValue(good, draw))) };
    const text = type.endsWith('x-ndjson') ? `${textOf(good)}\n` : textOf(good);
    return { type, bytes: kind === 'text' ? breakText(text, draw) : Buffer.from(text) };
  }
}

function plain(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
