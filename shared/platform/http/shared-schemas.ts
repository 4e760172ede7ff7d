import type { TSchema } from 'typebox';
import type { App } from './app.ts';

/**
 * Registers schemas under their `$id`. One that stands inside another is replaced there by a
 * reference, since an id may be declared once only; it must be in the same list.
 */
export function addSharedSchemas(app: App, schemas: readonly TSchema[]): void {
  for (const schema of schemas) app.addSchema(withReferences(schema, schema));
}

function withReferences(value: unknown, root: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => withReferences(item, root));
  if (typeof value !== 'object' || value === null) return value;
  const id: unknown = Reflect.get(value, '$id');
  if (value !== root && typeof id === 'string') return { $ref: `${id}#` };
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, withReferences(member, root)]),
  );
}
