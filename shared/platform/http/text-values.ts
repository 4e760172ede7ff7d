/**
 * Query and path values arrive as text; where the schema wants a number or a boolean, plain forms
 * become one.
 */

const INTEGER = /^-?[0-9]{1,16}$/;
const NUMBER = /^-?[0-9]{1,16}(\.[0-9]{1,16})?$/;

/**
 * Converts in place. What does not look like the type stays text, and the schema then says what is
 * wrong.
 */
export function convertTextValues(schema: unknown, values: unknown): void {
  if (typeof values !== 'object' || values === null) return;
  const properties = (schema as { properties?: Record<string, { type?: string }> } | undefined)
    ?.properties;
  for (const [name, property] of Object.entries(properties ?? {})) {
    const held = values as Record<string, unknown>;
    const text = held[name];
    if (typeof text !== 'string') continue;
    if (property.type === 'integer' && INTEGER.test(text)) held[name] = Number(text);
    else if (property.type === 'number' && NUMBER.test(text)) held[name] = Number(text);
    else if (property.type === 'boolean' && text === 'true') held[name] = true;
    else if (property.type === 'boolean' && text === 'false') held[name] = false;
  }
}
