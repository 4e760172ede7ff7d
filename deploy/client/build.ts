/**
 * Makes the package that apps install: `npm run build:client [-- --out DIR]`. JavaScript and
 * declarations of `shared/client/holdfast-*.ts` and of what they load, and nothing besides. What
 * comes from schemas (the types of the wire, the table of errors) is written out, so that the
 * package depends on no other.
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ClaimAnswerSchema, ClaimedSchema } from '../../shared/wire/claim-api.ts';
import {
  AdmitRequestSchema,
  EffectSchema,
  OUTAGE_CAUSES,
  OperationSchema,
  OperationStateSchema,
  OutcomeSchema,
} from '../../shared/wire/operation.ts';
import { ERRORS, ProblemSchema } from '../../shared/wire/problem.ts';
import {
  AttemptSchema,
  EffectAnswerSchema,
  HeartbeatSchema,
} from '../../shared/wire/sidecar-api.ts';
import { bodyText } from './type-text.ts';

const HERE = import.meta.dirname;
const ROOT = join(HERE, '../..');
const ENTRIES = ['client/holdfast-node', 'client/holdfast-fetch'];

/** As `shared/client/sidecar-shapes.ts` names them. */
const SHAPES = {
  AdmitRequest: AdmitRequestSchema,
  Attempt: AttemptSchema,
  ClaimAnswer: ClaimAnswerSchema,
  Claimed: ClaimedSchema,
  Effect: EffectSchema,
  EffectAnswer: EffectAnswerSchema,
  Heartbeat: HeartbeatSchema,
  Operation: OperationSchema,
  OperationState: OperationStateSchema,
  OutageCause: { enum: OUTAGE_CAUSES },
  Outcome: OutcomeSchema,
  Problem: ProblemSchema,
} as const;

/** Returns where the package is: a folder that can be packed as it is. */
export function buildClient(out: string): string {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', join(HERE, 'tsconfig.json'), '--outDir', out], {
    stdio: 'inherit',
  });
  writeFileSync(join(out, 'client/sidecar-shapes.d.ts'), shapesText());
  writeFileSync(join(out, 'client/sidecar-shapes.js'), 'export {};\n');
  writeFileSync(join(out, 'client/error-table.js'), errorTableText());
  writeFileSync(join(out, 'client/error-table.d.ts'), errorTypesText());
  keepWhatIsLoaded(out);
  for (const file of ['package.json', 'README.md']) copyFileSync(join(HERE, file), join(out, file));
  copyFileSync(join(ROOT, 'LICENSE'), join(out, 'LICENSE'));
  return out;
}

function shapesText(): string {
  const names = new Map<unknown, string>(
    Object.entries(SHAPES).map(([name, schema]) => [schema, name]),
  );
  return Object.entries(SHAPES)
    .map(([name, schema]) => `export type ${name} = ${bodyText({ ...schema }, names)};\n`)
    .join('');
}

function errorTableText(): string {
  return `export const ERRORS = Object.freeze(${JSON.stringify(ERRORS, null, 2)});
export const isErrorCode = (code) => Object.hasOwn(ERRORS, code);
`;
}

function errorTypesText(): string {
  const codes = Object.keys(ERRORS).map((code) => `  | '${code}'`);
  return `export type ErrorCode =
${codes.join('\n')};
export declare const ERRORS: Readonly<
  Record<ErrorCode, { readonly status: number; readonly title: string; readonly retryable: boolean }>
>;
export declare const isErrorCode: (code: string) => code is ErrorCode;
`;
}

const IMPORT = /(?:from|import)\s*\(?'([^']+)'/g;

/** Declarations and code apart: a type that is named loads nothing. Throws for what is not in the package. */
function keepWhatIsLoaded(out: string): void {
  const kept = new Set<string>();
  const visit = (path: string, kind: '.js' | '.d.ts'): void => {
    if (kept.has(path)) return;
    kept.add(path);
    for (const [, specifier = ''] of readFileSync(path, 'utf8').matchAll(IMPORT)) {
      if (specifier.startsWith('node:')) continue;
      const target = resolve(dirname(path), specifier.replace(/\.(?:js|ts)$/, kind));
      if (!specifier.startsWith('.') || !existsSync(target)) {
        const from = relative(out, path);
        throw new Error(`${from} needs ${specifier}, which the package would not have`);
      }
      visit(target, kind);
    }
  };
  for (const entry of ENTRIES)
    for (const kind of ['.js', '.d.ts'] as const) visit(join(out, `${entry}${kind}`), kind);
  for (const entry of readdirSync(out, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !kept.has(path)) rmSync(path);
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: 'string' } } });
  const out = buildClient(resolve(values.out ?? join(HERE, 'dist')));
  process.stdout.write(
    `the client is in ${relative(process.cwd(), out)}: npm pack ./${relative(process.cwd(), out)}\n`,
  );
}
