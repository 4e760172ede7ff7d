/** The name of the lease that a request needs, from the template of its rule. */

/** A text, then for each placeholder its path and the text after it. */
export type LeaseTemplate = {
  readonly start: string;
  readonly placeholders: readonly {
    readonly path: string;
    readonly keys: readonly string[];
    readonly after: string;
  }[];
};

const LEASE_PATH = /\{([A-Za-z0-9_.]+)\}/;
const RESOURCE_VALUE = /^[A-Za-z0-9._-]{1,100}$/;

/** `orders/{resource.attributes.shard}`, taken apart when the policy is compiled. */
export function parseLeaseTemplate(template: string): LeaseTemplate {
  // With a group, split gives the texts and in turns what the group matched.
  const parts = template.split(LEASE_PATH);
  const placeholders = [];
  for (let index = 1; index < parts.length; index += 2) {
    const path = parts[index] ?? '';
    placeholders.push({ path, keys: path.split('.'), after: parts[index + 1] ?? '' });
  }
  return { start: parts[0] ?? '', placeholders };
}

/** Each value must be a plain word or an integer, or it fits nothing. */
export function fillLeaseTemplate(
  template: LeaseTemplate | null,
  context: object,
): { ok: true; resource: string | null } | { ok: false; problem: string } {
  if (template === null) return { ok: true, resource: null };
  let problem: string | null = null;
  let resource = template.start;
  for (const { path, keys, after } of template.placeholders) {
    const value = valueAt(keys, context);
    const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
    if (typeof text === 'string' && RESOURCE_VALUE.test(text)) resource += text + after;
    else
      problem = `{${path}} must be a word of letters, digits, dot, hyphen or underscore, or an integer`;
  }
  return problem === null ? { ok: true, resource } : { ok: false, problem };
}

function valueAt(keys: readonly string[], context: object): unknown {
  let value: unknown = context;
  for (const key of keys) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}
