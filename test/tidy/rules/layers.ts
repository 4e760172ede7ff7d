import { importsOf, isCode, isUnder, sideOf } from '../source-tree.ts';
import type { SourceFile } from '../source-tree.ts';
import type { Rule } from './rule.ts';

type Layer = {
  readonly from: readonly string[];
  readonly except?: readonly string[];
  readonly to: readonly string[];
  /** Part of `to` that may be used all the same. */
  readonly allowed?: readonly string[];
  readonly wayOut: string;
};

const LAYERS: readonly Layer[] = [
  {
    from: ['control/'],
    to: ['dataplane/'],
    wayOut: 'the planes meet only in shared/wire and on the network',
  },
  {
    from: ['dataplane/'],
    to: ['control/'],
    wayOut: 'the planes meet only in shared/wire and on the network',
  },
  {
    from: ['shared/'],
    to: ['control/', 'dataplane/', 'deploy/'],
    wayOut: 'what shared/ needs belongs in shared/',
  },
  {
    from: ['control/', 'dataplane/', 'shared/', 'deploy/'],
    to: ['test/'],
    wayOut: 'the product runs without its tests',
  },
  {
    from: ['control/cli/'],
    to: ['control/'],
    allowed: ['control/cli/'],
    wayOut: 'the command talks only to the public HTTP APIs; use shared/client',
  },
];

export const planesApart: Rule = {
  title: 'control and dataplane never import each other, shared neither, and nothing imports test',
  check: (files) =>
    files
      .filter(({ path }) => isCode(path))
      .flatMap((file) => {
        const layers = LAYERS.filter((layer) => isUnder(file.path, layer.from));
        return importsOf(file).flatMap(({ specifier, target, line }) =>
          layers
            .filter(({ to, allowed }) => isUnder(target, to) && !isUnder(target, allowed ?? []))
            .map(({ wayOut }) => ({
              path: file.path,
              line,
              message: `imports ${specifier}; ${wayOut}`,
            })),
        );
      }),
};

export const noCycles: Rule = {
  title: 'no cycle of imports while modules load',
  check: (files) => {
    const edges = loadingEdges(files);
    return cyclesIn(edges).map((cycle) => {
      const [path = '', next = ''] = cycle;
      return {
        path,
        line: edges.get(path)?.get(next) ?? 1,
        message: `${[...cycle, path].join(' -> ')}; move what both need into a file of its own`,
      };
    });
  },
};

type Edges = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** For each file the files that load with it, with the line of each import. */
function loadingEdges(files: readonly SourceFile[]): Edges {
  return new Map(
    files
      .filter(({ path }) => isCode(path) && sideOf(path) !== path)
      .map((file) => {
        const loading = importsOf(file).filter(({ isTypeOnly, isLazy }) => !isTypeOnly && !isLazy);
        return [file.path, new Map(loading.map(({ target, line }) => [target, line]))];
      }),
  );
}

/** One cycle for each back edge of a depth-first walk, as the paths along it. */
function cyclesIn(edges: Edges): string[][] {
  const finished = new Set<string>();
  const cycles: string[][] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start !== -1) cycles.push(trail.slice(start));
    if (start !== -1 || finished.has(path)) return;
    for (const next of edges.get(path)?.keys() ?? []) visit(next, [...trail, path]);
    finished.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
  return cycles;
}
