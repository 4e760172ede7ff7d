/**
 * Serializers of answers, made once for each schema. By itself Fastify makes one for each status of
 * each route, and reads all shared schemas for each of them: of a daemon's start that was the most.
 */
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler';

type BuildSerializer = ReturnType<typeof SerializerSelector>;
type Serializer = ReturnType<ReturnType<BuildSerializer>>;

/**
 * By the text of a schema and of those that it names. They hold nothing of an app, and there are no
 * more of them than schemas in the code.
 */
const MADE = new Map<string, Serializer>();

/** Fastify asks for each route anew, with the same shared schemas; nobody changes one. */
const TEXTS = new WeakMap<object, string>();

function textOf(schema: unknown): string {
  if (typeof schema !== 'object' || schema === null) return JSON.stringify(schema);
  let text = TEXTS.get(schema);
  if (text === undefined) {
    text = JSON.stringify(schema);
    TEXTS.set(schema, text);
  }
  return text;
}

export function sharedSerializers(): BuildSerializer {
  const select = SerializerSelector();
  return (externalSchemas, options) => {
    const shared = new Map(
      Object.entries((externalSchemas ?? {}) as Record<string, unknown>).map(
        ([id, schema]) => [id, { schema, text: textOf(schema) }] as const,
      ),
    );
    const textOfOptions = JSON.stringify(options ?? null);
    return (route) => {
      const text = JSON.stringify(route.schema);
      const named = namedIn(text, shared);
      const key = [textOfOptions, text, ...named.map((id) => shared.get(id)?.text)].join('\n');
      const known = MADE.get(key);
      if (known !== undefined) return known;
      const external = Object.fromEntries(named.map((id) => [id, shared.get(id)?.schema]));
      const serializer = select(external, options)(route);
      MADE.set(key, serializer);
      return serializer;
    };
  };
}

/** What a schema refers to, and what that refers to, in order. */
function namedIn(text: string, shared: ReadonlyMap<string, { readonly text: string }>): string[] {
  const named = new Set<string>();
  const pending = [text];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const [, id = ''] of next.matchAll(/"\$ref":"([^"#]+)/g)) {
      const found = shared.get(id);
      if (found === undefined || named.has(id)) continue;
      named.add(id);
      pending.push(found.text);
    }
  }
  return [...named].toSorted();
}
