/**
 * Configuration of a program: flags over environment over file over defaults. The schema is the
 * only source: types, defaults, help and checks come from it. Unknown keys are errors, and all
 * problems are reported at once, each with where the value came from.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Static, TObject, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import type { TLocalizedValidationError } from 'typebox/error';
import { parse as parseYaml } from 'yaml';
import { nearestWord } from '../core/nearest-word.ts';
import { parseDurationMs } from '../core/time.ts';

const ENV_PREFIX = 'HOLDFAST_';

/** Variables of other Holdfast programs that may stand in the same environment. */
const OTHER_PROGRAMS = new Set([
  'HOLDFAST_CONTROL_URL',
  'HOLDFAST_CONTROL_TOKEN',
  'HOLDFAST_CONTROL_TOKEN_FILE',
  'HOLDFAST_SIDECAR_URL',
  'HOLDFAST_SIDECAR_SOCKET',
  'HOLDFAST_SIDECAR_TOKEN',
  'HOLDFAST_SIDECAR_TOKEN_FILE',
]);

/** Into every pod of a namespace that has a service whose name begins with `holdfast`. */
const INJECTED_BY_KUBERNETES =
  /_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_\d+_(TCP|UDP)(_[A-Z]+)?)?)$/;

export class ConfigurationError extends Error {
  override name = 'ConfigurationError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

export type Origin = 'flag' | 'environment' | 'file' | 'default';

export type Loaded<T> =
  | { readonly kind: 'run'; readonly config: T; readonly origins: Readonly<Record<string, Origin>> }
  | { readonly kind: 'print'; readonly text: string };

export type Sources = {
  readonly program: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
};

type Field = TSchema & {
  type?: string;
  default?: unknown;
  description?: string;
  enum?: readonly unknown[];
};

/** Durations are written with a unit and kept as text in the schema; read them with this. */
export function durationMs(text: string): number {
  const parsed = parseDurationMs(text);
  if (parsed === null)
    throw new ConfigurationError([
      `${text} is not a duration: write it with a unit, as 500ms, 5s, 15m`,
    ]);
  return parsed;
}

export function loadConfiguration<T extends TObject>(
  schema: T,
  sources: Sources,
): Loaded<Static<T>> {
  const fields = schema.properties as unknown as Record<string, Field>;
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  const take = (key: string, value: unknown, origin: Origin): void => {
    values[key] = value;
    origins[key] = origin;
  };

  const flags = readFlags(fields, sources);
  if (flags.help) return { kind: 'print', text: describe(fields, sources.program) };
  problems.push(...flags.problems);

  for (const [key, field] of Object.entries(fields)) {
    if (field.default !== undefined) take(key, field.default, 'default');
  }
  const file = flags.values.get('config') ?? sources.env[`${ENV_PREFIX}CONFIG`];
  if (file !== undefined) {
    for (const [key, value] of readFile(file, problems)) {
      if (Object.hasOwn(fields, key)) take(key, value, 'file');
      else problems.push(`unknown key ${key} in ${file}${nearest(key, Object.keys(fields))}`);
    }
  }
  const byVariable = new Map(Object.keys(fields).map((key) => [variableOf(key), key]));
  for (const [variable, text] of Object.entries(sources.env)) {
    if (
      !variable.startsWith(ENV_PREFIX) ||
      text === undefined ||
      variable === `${ENV_PREFIX}CONFIG` ||
      INJECTED_BY_KUBERNETES.test(variable)
    ) {
      continue;
    }
    const key = byVariable.get(variable);
    if (key !== undefined) take(key, fromText(fields[key], text), 'environment');
    else if (!OTHER_PROGRAMS.has(variable))
      problems.push(
        `unknown environment variable ${variable}${nearest(variable, [...byVariable.keys()])}`,
      );
  }
  for (const [flag, text] of flags.values) {
    if (flag !== 'config') take(flag, fromText(fields[flag], text), 'flag');
  }

  const checker = Compile(schema);
  if (!checker.Check(values)) {
    for (const error of checker.Errors(values)) {
      const key = error.instancePath.split('/')[1] ?? '';
      const origin = origins[key];
      if (error.keyword === 'required') {
        const missing =
          (error.params as { requiredProperties?: string[] }).requiredProperties ?? [];
        for (const name of missing)
          problems.push(`${name} is required: set --${flagOf(name)} or ${variableOf(name)}`);
      } else {
        problems.push(
          `${key} (from ${origin ?? 'nowhere'}) is ${JSON.stringify(values[key])}: it ${wrongIn(error)}; ${fields[key]?.description ?? ''}`,
        );
      }
    }
  }
  if (problems.length > 0) throw new ConfigurationError([...new Set(problems)]);
  return { kind: 'run', config: Object.freeze(values) as Static<T>, origins };
}

function wrongIn({ keyword, params, message }: TLocalizedValidationError): string {
  return keyword === 'enum' ? `must be one of ${params.allowedValues.join(', ')}` : message;
}

function readFlags(
  fields: Record<string, Field>,
  sources: Sources,
): { values: Map<string, string>; help: boolean; problems: string[] } {
  const keyOf = new Map(Object.keys(fields).map((key) => [flagOf(key), key]));
  const { tokens } = parseArgs({
    args: [...sources.argv],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      config: { type: 'string' },
      ...Object.fromEntries([...keyOf.keys()].map((flag) => [flag, { type: 'string' as const }])),
    },
  });
  const values = new Map<string, string>();
  const problems: string[] = [];
  let help = false;
  for (const token of tokens) {
    if (token.kind === 'positional')
      problems.push(`unexpected argument ${token.value}: see --help`);
    if (token.kind !== 'option') continue;
    if (token.name === 'help' || token.name === 'h') help = true;
    else if (token.name === 'config') values.set('config', token.value ?? '');
    else if (!keyOf.has(token.name))
      problems.push(`unknown flag ${token.rawName}${nearest(token.name, [...keyOf.keys()], '--')}`);
    else if (token.value === undefined) problems.push(`${token.rawName} needs a value`);
    else {
      const key = keyOf.get(token.name) ?? '';
      const earlier = values.get(key);
      if (earlier === undefined) values.set(key, token.value);
      else if (fields[key]?.type === 'array') values.set(key, `${earlier},${token.value}`);
      else problems.push(`${token.rawName} is given twice: ${earlier} and ${token.value}`);
    }
  }
  return { values, help, problems };
}

function readFile(path: string, problems: string[]): [string, unknown][] {
  try {
    const parsed: unknown = parseYaml(readFileSync(path, 'utf8'));
    if (parsed === null || parsed === undefined) return [];
    if (typeof parsed === 'object' && !Array.isArray(parsed)) return Object.entries(parsed);
    problems.push(`${path} is not a mapping of keys to values`);
  } catch (error) {
    problems.push(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return [];
}

function fromText(field: Field | undefined, text: string): unknown {
  if (field?.type === 'integer' || field?.type === 'number')
    return text.trim() === '' ? text : Number(text);
  if (field?.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (field?.type === 'array') return text === '' ? [] : text.split(',').map((item) => item.trim());
  return text;
}

const words = (key: string): string[] => key.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
const flagOf = (key: string): string => words(key).join('-');
const variableOf = (key: string): string => `${ENV_PREFIX}${words(key).join('_').toUpperCase()}`;

function describe(fields: Record<string, Field>, program: string): string {
  const lines = [
    `${program} [--config FILE] [flags]`,
    '',
    'Flags override environment variables, those the file (YAML), and that the defaults.',
    '',
  ];
  for (const [key, field] of Object.entries(fields)) {
    const standard =
      field.default === undefined ? '' : ` (default ${JSON.stringify(field.default)})`;
    lines.push(
      `  --${flagOf(key)}  ${variableOf(key)}`,
      `      ${field.description ?? ''}${standard}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** `; did you mean dataDir?` for a near miss, or where to look. */
function nearest(word: string, known: readonly string[], prefix = ''): string {
  const best = nearestWord(word, known);
  return best === null ? '; see --help' : `; did you mean ${prefix}${best}?`;
}
