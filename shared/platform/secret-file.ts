/** A YAML file of secrets that a person writes for a daemon: not for all to read, and checked whole. */
import { readFileSync, statSync } from 'node:fs';
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { parse as parseYaml } from 'yaml';
import { StartError } from './shutdown.ts';

/** Throws a `StartError` that names the place and, with `form`, the way out. */
export function readSecretFile<T extends TSchema>(
  path: string,
  { name, schema, form }: { readonly name: string; readonly schema: T; readonly form: string },
): Static<T> {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(path, 'utf8'));
    if ((statSync(path).mode & 0o004) !== 0)
      throw new Error('it can be read by every user: chmod 0640 it');
  } catch (error) {
    throw new StartError(
      `cannot use the ${name} file ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const checker = Compile(schema);
  if (checker.Check(content)) return content;
  const first = checker.Errors(content)[0];
  throw new StartError(
    `the ${name} file ${path} is wrong at ${first?.instancePath || '/'}: ${first?.message}; it needs ${form}`,
  );
}
