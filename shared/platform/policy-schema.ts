/** Whether a value fits the schema of a policy document, and if not where, why, and the way out. */
import { Compile } from 'typebox/compile';
import { Settings } from 'typebox/system';
import { nearestWord } from '../core/nearest-word.ts';
import type { PolicyProblem } from '../core/policy.ts';
import type { Steps } from '../core/steps.ts';
import {
  POLICY_RULES_MAX,
  PolicyDocumentSchema,
  type PolicyDocument,
} from '../wire/policy-document.ts';

const RULES_AT_ONCE = 256;

const documentChecker = Compile(PolicyDocumentSchema);

export const escapePointer = (key: string): string =>
  key.replaceAll('~', '~0').replaceAll('/', '~1');

/**
 * The checker looks at a value at once. A list of rules that is long is given to it in parts, each
 * in the place of the whole in a document that is otherwise known to fit: the schema says of a rule
 * nothing about its neighbours.
 */
export function* fitsSchema(value: unknown): Steps<PolicyDocument | null> {
  const rules: unknown = (value as { rules?: unknown } | null)?.rules;
  if (!Array.isArray(rules) || rules.length <= RULES_AT_ONCE || rules.length > POLICY_RULES_MAX)
    return documentChecker.Check(value) ? value : null;
  if (!documentChecker.Check({ ...(value as object), rules: rules.slice(0, RULES_AT_ONCE) }))
    return null;
  const { apiVersion, kind } = value as PolicyDocument;
  const principals = { 'any:one': { roles: ['any'] } };
  for (let at = RULES_AT_ONCE; at < rules.length; at += RULES_AT_ONCE) {
    yield;
    const part = { apiVersion, kind, principals, rules: rules.slice(at, at + RULES_AT_ONCE) };
    if (!documentChecker.Check(part)) return null;
  }
  return value as PolicyDocument;
}

type SchemaError = ReturnType<typeof documentChecker.Errors>[number];
type Schema = Readonly<Record<string, unknown>>;

export function schemaProblems(value: unknown, problemsMax: number): PolicyProblem[] {
  const { maxErrors } = Settings.Get();
  Settings.Set({ maxErrors: problemsMax * 2 });
  try {
    const errors = documentChecker.Errors(value);
    // Where the type is wrong, what else is wrong there says nothing more.
    const mistyped = new Set(
      errors.filter(({ keyword }) => keyword === 'type').map(({ instancePath }) => instancePath),
    );
    const problems = errors
      .filter(({ keyword, instancePath }) => keyword === 'type' || !mistyped.has(instancePath))
      .flatMap((error) => toProblems(error, value));
    const told = new Set(problems.map(({ path }) => path));
    // Where one object has more unknown fields than are looked for, nothing says them all once.
    return [...problems, ...unknownFields(errors).filter(({ path }) => !told.has(path))];
  } finally {
    Settings.Set({ maxErrors });
  }
}

function unknownFields(errors: readonly SchemaError[]): PolicyProblem[] {
  return errors.flatMap(({ keyword, instancePath: path, schemaPath }) => {
    if (keyword !== 'boolean') return [];
    const field = unescapePointer(path.slice(path.lastIndexOf('/') + 1));
    const schema = schemaAt(schemaPath.replace(/\/[^/]*$/, ''));
    return [{ path, message: unknownField(field, schema) }];
  });
}

function toProblems(error: SchemaError, document: unknown): PolicyProblem[] {
  const { keyword, instancePath: path, schemaPath } = error;
  const params = error.params as Readonly<Record<string, unknown>>;
  const schema = schemaAt(schemaPath);
  const value = valueAt(document, path);
  switch (keyword) {
    case 'boolean':
      // Says again, for each unknown field, what `additionalProperties` says of all; see above.
      return [];
    case 'additionalProperties':
      return (params['additionalProperties'] as string[]).map((field) => ({
        path: `${path}/${escapePointer(field)}`,
        message: unknownField(field, schema),
      }));
    case 'required':
      return (params['requiredProperties'] as string[]).map((field) => ({
        path: `${path}/${escapePointer(field)}`,
        message: `is required: add ${wanted(fieldOf(schema, field))}`,
      }));
    case 'uniqueItems':
      return (params['duplicateItems'] as number[]).map((index) => ({
        path: `${path}/${index}`,
        message: 'is there already: remove one of the two',
      }));
    default:
      return [{ path, message: messageOf(keyword, { params, schema, value }) }];
  }
}

type Misfit = {
  readonly params: Readonly<Record<string, unknown>>;
  readonly schema: Schema;
  readonly value: unknown;
};

function messageOf(keyword: string, { params, schema, value }: Misfit): string {
  const limit = String(params['limit']);
  switch (keyword) {
    case 'type':
      return `must be ${article(String(params['type']))} and is ${kindOf(value)}: write ${wanted(schema)}`;
    case 'enum':
      return notOneOf(value, params['allowedValues'] as readonly unknown[]);
    case 'const':
      return `must be ${JSON.stringify(params['allowedValue'])}: this version knows no other`;
    case 'pattern':
    case 'minLength':
      return typeof value === 'string' && value.trim() === ''
        ? `is blank: write ${wanted(schema)}, or remove the field if it is optional`
        : `${shown(value)} does not fit: write ${wanted(schema)}`;
    case 'maxLength':
      return `is longer than ${limit} characters: shorten or split it`;
    case 'minItems':
    case 'minProperties':
      return `is empty: needs at least ${limit} of ${wanted(schema)}`;
    case 'maxItems':
    case 'maxProperties':
      return `has more than ${limit}: remove some, or split the policy by product`;
    case 'minimum':
      return `${shown(value)} is below the least that is allowed: use ${limit} or more`;
    case 'maximum':
      return `${shown(value)} is above the most that is allowed: use ${limit} or less`;
    default:
      return `does not fit: write ${wanted(schema)}`;
  }
}

/** What belongs there, in words. */
function wanted(schema: Schema): string {
  const { description, type } = schema;
  const allowed = schema['enum'];
  if ('const' in schema) return JSON.stringify(schema['const']);
  if (Array.isArray(allowed)) return `one of ${allowed.join(', ')}`;
  if (typeof description === 'string') return description;
  return typeof type === 'string' ? article(type) : 'a value';
}

function notOneOf(value: unknown, allowed: readonly unknown[]): string {
  const words = allowed.filter((word) => typeof word === 'string');
  const meant = typeof value === 'string' ? nearestWord(value, words) : null;
  const all = allowed.join(', ');
  return `must be one of ${all}: ${meant === null ? 'use one of them' : `did you mean ${meant}?`}`;
}

function unknownField(field: string, schema: Schema): string {
  const patterns = Object.entries(schema['patternProperties'] ?? {});
  const names = schema['x-names'];
  if (patterns.length > 0) {
    const form = typeof names === 'string' ? names : `what matches ${patterns[0]?.[0]}`;
    return `"${field}" cannot be a name here: write ${form}`;
  }
  const known = Object.keys(schema['properties'] ?? {});
  const meant = nearestWord(field, known);
  return meant === null
    ? `unknown field: remove it; known here are ${known.join(', ')}`
    : `unknown field: did you mean ${meant}?`;
}

function fieldOf(schema: Schema, field: string): Schema {
  const properties = schema['properties'] as Readonly<Record<string, Schema>> | undefined;
  return properties?.[field] ?? {};
}

/** Names of records may hold slashes, so the longest that fits is taken. */
function schemaAt(schemaPath: string): Schema {
  let schema: unknown = PolicyDocumentSchema;
  const parts = schemaPath.split('/').slice(1);
  while (parts.length > 0 && isObject(schema)) {
    const holder: Schema = schema;
    const length = parts.findIndex((_, index) => keyOf(parts, index + 1) in holder) + 1;
    if (length === 0) return {};
    schema = holder[keyOf(parts, length)];
    parts.splice(0, length);
  }
  return isObject(schema) ? schema : {};
}

function keyOf(parts: readonly string[], length: number): string {
  return unescapePointer(parts.slice(0, length).join('/'));
}

function valueAt(document: unknown, path: string): unknown {
  let value = document;
  for (const part of path.split('/').slice(1)) {
    if (!isObject(value)) return undefined;
    value = value[unescapePointer(part)];
  }
  return value;
}

const unescapePointer = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~');

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

const article = (noun: string): string => (/^[aeio]/.test(noun) ? `an ${noun}` : `a ${noun}`);

function kindOf(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'number')
    return Number.isInteger(value) ? `${value}` : `the number ${value}`;
  return typeof value === 'object' ? 'a map' : `the ${typeof value} ${shown(value)}`;
}

const SHOWN_MAX = 60;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX).toWellFormed()}…` : text;
}
