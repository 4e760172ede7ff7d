import { importsOf, isCode, isUnder } from '../source-tree.ts';
import type { Rule } from './rule.ts';

// The examples are programs of somebody else, who chooses freely; the tests look behind every port.
const PRODUCT = ['shared/', 'control/', 'dataplane/'];

/** One row a module: which it is, and the only places that may know of it. */
const RESTRICTED: readonly {
  readonly module: RegExp;
  readonly places: RegExp;
  readonly where: string;
  readonly within?: readonly string[];
}[] = [
  {
    module: /^(?:fastify$|@fastify\/)/,
    places: /\/http\//,
    where: 'a folder called http/',
  },
  {
    module: /^(?:node:)?sqlite$/,
    places: /^(?:shared\/platform|control\/store|dataplane\/journal)\//,
    where: 'shared/platform/, control/store/ and dataplane/journal/',
  },
  {
    module: /^undici$/,
    places: /^shared\/(?:client|platform)\//,
    where: 'shared/client/ and shared/platform/',
  },
  {
    module: /^(?:pino|prom-client|jose|close-with-grace|@marcbachmann\/cel-js|@opentelemetry\/.+)$/,
    places: /^shared\/platform\//,
    where: 'shared/platform/, behind a port',
  },
  {
    module: /^@modelcontextprotocol\//,
    places: /^control\/cli\/mcp\/sdk-/,
    where: 'control/cli/mcp/sdk-*.ts, behind the ports beside them,',
  },
  { module: /^commander$/, places: /^control\/cli\//, where: 'control/cli/' },
  {
    module: /^fast-check$/,
    places: /^test\/fakes\//,
    where: 'test/fakes/, whose properties.ts sets its seed,',
    within: ['test/'],
  },
];

export const restrictedModules: Rule = {
  title: 'each library that could spread is known in one place',
  check: (files) =>
    files
      .filter(({ path }) => isCode(path))
      .flatMap((file) =>
        importsOf(file).flatMap(({ specifier, line }) =>
          RESTRICTED.filter(
            ({ module, places, within = PRODUCT }) =>
              module.test(specifier) && isUnder(file.path, within) && !places.test(file.path),
          ).map(({ where }) => ({
            path: file.path,
            line,
            message: `imports ${specifier}; only ${where} may`,
          })),
        ),
      ),
};
