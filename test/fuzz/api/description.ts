/** A daemon's own description of its API: the routes to ask, and what each may answer. */
import { Compile, type Validator } from 'typebox/schema';
import type { Schema } from '../values/from-schema.ts';

type Parameter = {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required?: boolean;
  readonly schema: Schema;
};
type Content = Readonly<Record<string, { readonly schema?: Schema }>>;
type Operation = {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content?: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
};
export type OpenApi = {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components?: Schema;
};

export type Route = {
  readonly method: string;
  /** As in the description: `/v1/leases/{resource}:acquire`. */
  readonly path: string;
  readonly parameters: readonly Parameter[];
  /** By content type. */
  readonly bodies: ReadonlyMap<string, Schema>;
};

/** How an answer compares with the description. */
export type Fit =
  | { readonly kind: 'fits' }
  | { readonly kind: 'no route' }
  | { readonly kind: 'undescribed'; readonly detail: string }
  | { readonly kind: 'misfit'; readonly detail: string };

export class Description {
  readonly routes: readonly Route[];
  readonly root: Schema;
  readonly #document: OpenApi;
  readonly #patterns: readonly { readonly path: string; readonly form: RegExp }[];
  readonly #validators = new Map<string, Validator>();

  constructor(document: OpenApi) {
    this.#document = document;
    this.root = { components: document.components ?? {} };
    this.routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        method: method.toUpperCase(),
        path,
        parameters: operation.parameters ?? [],
        bodies: new Map(
          Object.entries(operation.requestBody?.content ?? {}).map(([type, { schema }]) => [
            type,
            schema ?? {},
          ]),
        ),
      })),
    );
    // As in a router, what is said word for word comes before a parameter.
    const rank = (path: string): number => path.replaceAll(/\{[^}]*\}/g, '').length;
    this.#patterns = Object.keys(document.paths)
      .toSorted((a, b) => rank(b) - rank(a))
      .map((path) => ({ path, form: patternOf(path) }));
  }

  /** The path of the description that serves `path`, without its query. */
  pathOf(path: string): string | null {
    return this.#patterns.find(({ form }) => form.test(path))?.path ?? null;
  }

  fit(
    asked: { method: string; path: string },
    answer: { status: number; type: string; body: string },
  ): Fit {
    const path = this.pathOf(asked.path);
    const method = (asked.method === 'HEAD' ? 'get' : asked.method).toLowerCase();
    const operation = path === null ? undefined : this.#document.paths[path]?.[method];
    if (operation === undefined || path === null) return { kind: 'no route' };
    const { status, type } = answer;
    const { responses } = operation;
    const name = [`${status}`, `${Math.floor(status / 100)}XX`, 'default'].find(
      (one) => one in responses,
    );
    if (name === undefined)
      return { kind: 'undescribed', detail: `${method} ${path}: ${status} is not described` };
    const content = responses[name]?.content;
    const plain = type.split(';')[0] ?? '';
    const schema = content?.[plain]?.schema;
    if (schema === undefined || asked.method === 'HEAD' || !/[/+]json$/.test(plain)) {
      // A body of another type than is described, or one where none is.
      const isMeant = content === undefined || plain in content || answer.body === '';
      return isMeant
        ? { kind: 'fits' }
        : { kind: 'misfit', detail: `${method} ${path}: ${status} came as ${plain}` };
    }
    return this.#check(`${method} ${path} ${name} ${plain}`, schema, answer.body);
  }

  #check(key: string, schema: Schema, body: string): Fit {
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      return { kind: 'misfit', detail: `${key}: the body is not JSON: ${body.slice(0, 200)}` };
    }
    let validator = this.#validators.get(key);
    if (validator === undefined) {
      validator = Compile({ ...schema, ...this.root });
      this.#validators.set(key, validator);
    }
    if (validator.Check(value)) return { kind: 'fits' };
    const [, errors] = validator.Errors(value);
    const first = errors
      .slice(0, 3)
      .map(({ instancePath, message }) => `${instancePath} ${message}`);
    return { kind: 'misfit', detail: `${key}: ${first.join('; ')}` };
  }
}

function patternOf(path: string): RegExp {
  const parts = path.split(/\{[^}]*\}/).map((part) => RegExp.escape(part));
  return new RegExp(`^${parts.join('[^/]+')}$`);
}
