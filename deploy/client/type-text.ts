/** A TypeBox schema, which is a JSON Schema, as the TypeScript type that it stands for. */
type Schema = Readonly<Record<string, unknown>>;

/** `names`: schemas that have a name of their own, and are called by it. */
export function typeText(schema: unknown, names: ReadonlyMap<unknown, string>): string {
  const name = names.get(schema);
  return name ?? bodyText(schema as Schema, names);
}

/** Of a schema that has a name, the type itself. */
export function bodyText(schema: Schema, names: ReadonlyMap<unknown, string>): string {
  const text = (part: unknown): string => typeText(part, names);
  if (Array.isArray(schema['enum']))
    return union(schema['enum'].map((each) => JSON.stringify(each)));
  if ('const' in schema) return JSON.stringify(schema['const']);
  if (Array.isArray(schema['anyOf'])) return union(schema['anyOf'].map(text));
  switch (schema['type']) {
    case 'string':
      return 'string';
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'null':
      return 'null';
    case 'array':
      return `Array<${text(schema['items'])}>`;
    case 'object':
      return objectText(schema, text);
    case undefined:
      if (Object.keys(schema).every((key) => key === 'description' || key.startsWith('~')))
        return 'unknown';
  }
  throw new Error(
    `no type is known for the schema ${JSON.stringify(schema)}: teach it to type-text`,
  );
}

function union(parts: readonly string[]): string {
  return [...new Set(parts)].join(' | ');
}

function objectText(schema: Schema, text: (part: unknown) => string): string {
  const patterns = Object.values((schema['patternProperties'] ?? {}) as Schema);
  if (patterns.length > 0) return `{ [key: string]: ${union(patterns.map(text))} }`;
  const required = new Set((schema['required'] ?? []) as string[]);
  const fields = Object.entries((schema['properties'] ?? {}) as Record<string, Schema>).map(
    ([name, field]) => {
      const { description } = field;
      const comment = typeof description === 'string' ? `/** ${description} */\n` : '';
      return `${comment}${name}${required.has(name) ? '' : '?'}: ${text(field)};`;
    },
  );
  return `{\n${fields.join('\n')}\n}`;
}
