/** A good JSON document made bad in one to three places, as a value or in its text. */
import { NUMBER_TEXTS, ODD_KEYS, ODD_NUMBERS, ODD_TEXTS, type Draw } from '../draw.ts';
import { anything, type Json } from './from-schema.ts';

const HUGE = [1_000, 8_000, 70_000];
const DEEP = [10, 60, 70, 500, 5_000];
/** Stands for what no value can say, until the text is made. */
const MARK = '\u0001raw:';

type Place = { readonly holder: Json[] | { [name: string]: Json }; readonly key: string | number };

export function breakValue(good: Json, draw: Draw): Json {
  const root = { value: structuredClone(good) } as { [name: string]: Json };
  for (let times = draw.between(1, 3); times > 0; times -= 1) {
    const place = draw.one(placesOf(root));
    breakAt(place, draw);
  }
  return root['value'] ?? null;
}

function placesOf(holder: Json[] | { [name: string]: Json }): Place[] {
  const places: Place[] = [];
  for (const [key, value] of Object.entries(holder)) {
    places.push({ holder, key: Array.isArray(holder) ? Number(key) : key });
    if (typeof value === 'object' && value !== null && places.length < 2_000)
      places.push(...placesOf(value));
  }
  return places;
}

function breakAt({ holder, key }: Place, draw: Draw): void {
  const held = holder as { [name: string | number]: Json };
  const value = held[key];
  switch (draw.below(11)) {
    case 0:
      held[key] = anything(draw);
      return;
    case 1:
      held[key] = draw.one(ODD_NUMBERS);
      return;
    case 2:
      held[key] = `${MARK}${draw.one(NUMBER_TEXTS)}`;
      return;
    case 3:
      held[key] = draw.one(ODD_TEXTS);
      return;
    case 4:
      held[key] = draw.one(['x', 'é', '\0', '\\']).repeat(draw.one(HUGE));
      return;
    case 5:
      held[key] = deep(draw);
      return;
    case 6:
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else if (key !== 'value') delete held[key];
      return;
    case 7:
      if (isMap(value)) define(value, draw.one(ODD_KEYS), anything(draw));
      else held[key] = null;
      return;
    case 8:
      if (Array.isArray(value) && value.length > 0)
        held[key] = Array.from({ length: draw.one([2, 200, 2_000]) }, () => draw.one(value));
      else if (typeof value === 'string') held[key] = `${value}${draw.one(ODD_TEXTS)}`;
      else held[key] = [];
      return;
    case 9:
      if (isMap(value)) {
        for (let count = draw.one([1, 101, 600]); count > 0; count -= 1)
          value[`more${count}`] = count;
      } else held[key] = {};
      return;
    default:
      if (typeof value === 'string' && value.length > 0) {
        const at = draw.below(value.length);
        held[key] = `${value.slice(0, at)}${draw.one(ODD_TEXTS)}${value.slice(at + 1)}`;
      } else if (typeof value === 'number') held[key] = `${value}`;
      else held[key] = draw.one(ODD_TEXTS);
  }
}

function isMap(value: Json | undefined): value is { [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Also where the name is that of a prototype. */
function define(held: { [name: string]: Json }, name: string, value: Json): void {
  Object.defineProperty(held, name, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  });
}

/** Written out already: a value of that depth would end the stack of whoever writes it. */
function deep(draw: Draw): string {
  const depth = draw.one(DEEP);
  const [open, close] = draw.one([
    ['[', ']'],
    ['{"a":', '}'],
  ] as const);
  return `${MARK}${open.repeat(depth)}0${close.repeat(depth)}`;
}

export function textOf(value: Json): string {
  return JSON.stringify(value).replaceAll(
    /"\\u0001raw:((?:[^"\\]|\\.)*)"/g,
    (_, raw: string) => JSON.parse(`"${raw}"`) as string,
  );
}

/** What only the text can have: bytes that are no UTF-8, a member twice, an end too early. */
export function breakText(good: string, draw: Draw): Buffer {
  const bytes = Buffer.from(good);
  const at = draw.below(bytes.length + 1);
  switch (draw.below(9)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([
        bytes.subarray(0, at),
        draw.bytes(draw.between(1, 4)),
        bytes.subarray(at),
      ]);
    case 2: {
      const flipped = Buffer.from(bytes);
      if (flipped.length > 0)
        flipped[at % flipped.length] = (flipped[at % flipped.length] ?? 0) ^ (1 << draw.below(8));
      return flipped;
    }
    case 3:
      return Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes]);
    case 4:
      return Buffer.from(good, 'utf16le');
    case 5:
      return Buffer.from(twice(good));
    case 6:
      return Buffer.concat([
        bytes,
        draw.one([bytes, Buffer.from('}'), Buffer.from('\0'), Buffer.from(' //')]),
      ]);
    case 7:
      return Buffer.from(good.replaceAll('"', "'"));
    default:
      return draw.bytes(draw.below(200));
  }
}

/** The first member of each object once more, with another value. */
function twice(text: string): string {
  return text.replaceAll(/\{("(?:[^"\\]|\\.)*"):/g, '{$1:"first",$1:');
}

/** As it would come over the network; what no JSON can say is left as a text. */
export function asReceived(value: Json): unknown {
  try {
    return JSON.parse(textOf(value)) as unknown;
  } catch {
    return JSON.parse(JSON.stringify(value)) as unknown;
  }
}
