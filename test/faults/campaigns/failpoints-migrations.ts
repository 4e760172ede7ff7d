/**
 * A migration that is killed at each of its statements, before its COMMIT and after it: the data has
 * the schema of a whole number of migrations then, and the next start completes it.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type { FailpointName } from '../../../shared/platform/failpoints.ts';
import { checkApplied, migrate, openDatabase } from '../../../shared/platform/sqlite.ts';
import { bareEnvironment } from '../../fakes/bare-environment.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import type { Site } from '../sidecar/site.ts';
import type { Ended } from '../subject.ts';
import { killNow, type Undo } from '../undo.ts';
import {
  armedEnvironment,
  readFailpointReport,
  verifyCode,
  type CaseResult,
} from './failpoints-cases.ts';
import { PLANES, type Plane } from './failpoints-migrate.ts';

export type MigrationPoint = Extract<FailpointName, `migration.${string}`>;
export type MigrationKill = { readonly point: MigrationPoint; readonly at: number };

const MIGRATE = fileURLToPath(new URL('./failpoints-migrate.ts', import.meta.url));
const POINTS: readonly MigrationPoint[] = [
  'migration.before_statement',
  'migration.before_commit',
  'migration.after_commit',
];
const END_BOUND_MS = 20_000;
/** Well formed; there is no control that would be asked about it. */
const JOIN_TOKEN = `hfj1.join_0123456789abcdefghjkmnpqrs.${'s'.repeat(43)}.${'t'.repeat(43)}`;

/** Each time that a point is reached while the newest schema is made out of nothing. */
export async function migrationKills(plane: Plane, root: string, undo: Undo) {
  const path = join(root, `${plane}-counted.db`);
  const reportFile = `${path}.json`;
  const failpoints = 'migration.before_statement=count';
  const ended = await runMigrate(plane, { path, undo, failpoints, reportFile });
  const report = readFailpointReport(reportFile);
  if (ended.code !== 0 || report === null) throw new Error(`it cannot be counted: ${ended.said}`);
  return POINTS.flatMap((point) =>
    Array.from({ length: report.reached[point] }, (_, index): MigrationKill => {
      return { point, at: index + 1 };
    }),
  );
}

/** I1: what is committed is whole, what is not leaves no trace, and the next run completes it. */
export async function runMigrationKill(
  plane: Plane,
  { point, at }: MigrationKill,
  { root, undo }: { readonly root: string; readonly undo: Undo },
): Promise<CaseResult> {
  const path = join(root, `${plane}-${point}-${at}.db`);
  const reportFile = `${path}.json`;
  const problems: string[] = [];
  const failpoints = `${point}=kill@${at}`;
  const killed = await runMigrate(plane, { path, undo, failpoints, reportFile });
  const report = readFailpointReport(reportFile);
  if (killed.signal !== 'SIGKILL' || report?.killedAt !== point)
    problems.push(`not killed at ${failpoints}: ${killed.code} ${killed.said}`);
  const applied = report === null ? 0 : report.reached['migration.after_commit'];
  problems.push(...schemaProblems(plane, path, applied));
  const completed = complete(plane, path);
  if (completed !== null) problems.push(`the next start: ${completed}`);
  problems.push(...schemaProblems(plane, path, PLANES[plane].length));
  for (const end of ['', '-wal', '-shm', '.json']) rmSync(`${path}${end}`, { force: true });
  return { problems, lies: [], report };
}

/** What the next start does, here: no point is armed, so it needs no process of its own. */
function complete(plane: Plane, path: string): string | null {
  const database = openDatabase(path);
  try {
    migrate(database, PLANES[plane]);
    return null;
  } catch (error) {
    return String(error);
  } finally {
    database.close();
  }
}

/** The same in the writer's thread of a sidecar at its first start. */
export async function runFirstStartKill(
  site: Site,
  undo: Undo,
  { point, at }: MigrationKill,
): Promise<CaseResult> {
  const dataDir = join(site.root, `first-start-${point}-${at}`);
  const reportFile = `${dataDir}.json`;
  const joinTokenFile = `${dataDir}.token`;
  const problems: string[] = [];
  mkdirSync(dataDir);
  writeFileSync(joinTokenFile, `${JOIN_TOKEN}\n`, { mode: 0o600 });
  const under = armedEnvironment(`${point}=kill@${at}`, reportFile);
  const sidecar = new SidecarProcess(site, undo, { dataDir, under, joinTokenFile });
  const ended = await sidecar.untilEnded(END_BOUND_MS);
  await sidecar.close();
  const report = readFailpointReport(reportFile);
  if (ended?.signal !== 'SIGKILL' || report?.killedAt !== point)
    problems.push(`not killed at ${point}: ${ended?.code} ${ended?.said}`);
  const again = new SidecarProcess(site, undo, { dataDir, joinTokenFile });
  if (await again.isLive()) {
    const ready = await again.probe('/readyz?verbose=true');
    if (ready?.body.includes('quarantined')) problems.push(`the next start: ${ready.body}`);
  } else problems.push(`the next start: ${(await again.ended).said}`);
  await again.stop();
  await again.close();
  const path = join(dataDir, 'journal/journal.db');
  problems.push(...schemaProblems('journal', path, PLANES.journal.length));
  if ((await verifyCode(dataDir)) !== 0) problems.push('journal verify: not sound');
  rmSync(dataDir, { recursive: true });
  return { problems, lies: [], report };
}

function runMigrate(
  plane: Plane,
  options: {
    readonly path: string;
    readonly undo: Undo;
    readonly failpoints: string;
    readonly reportFile: string;
  },
): Promise<Ended> {
  const { path, undo, failpoints, reportFile } = options;
  const under = armedEnvironment(failpoints, reportFile);
  const [program, ...args] = [...under, process.execPath, MIGRATE, plane, path];
  const child = spawn(program, args, {
    env: bareEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const gone = undo.add(`migration ${child.pid}`, () => killNow(child));
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      gone();
      resolve({ code, signal, said: said.trim() });
    });
  });
}

/** Against a database that was brought to the same version and never killed. */
function schemaProblems(plane: Plane, path: string, applied: number): string[] {
  if (!existsSync(path)) return [`${path} is not there`];
  const migrations = PLANES[plane].slice(0, applied);
  const database = openDatabase(path);
  // A name of its own each time: in memory there is no WAL.
  const wholePath = `${path}-whole`;
  const whole = openDatabase(wholePath);
  try {
    migrate(whole, migrations);
    const problems: string[] = [];
    if (checkApplied(database, PLANES[plane]) !== applied)
      problems.push(`not ${applied} migrations are noted as applied`);
    if (!isDeepStrictEqual(rowsOf(database), rowsOf(whole)))
      problems.push(`the schema is not that of ${applied} migrations`);
    const [check] = database.prepare('PRAGMA integrity_check').all();
    if (check?.['integrity_check'] !== 'ok') problems.push(`SQLite says ${JSON.stringify(check)}`);
    return problems;
  } finally {
    database.close();
    whole.close();
    for (const end of ['', '-wal', '-shm']) rmSync(`${wholePath}${end}`, { force: true });
  }
}

function rowsOf(database: ReturnType<typeof openDatabase>): unknown[] {
  const schema = 'SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name';
  return [
    ...database.prepare(schema).all(),
    ...database.prepare('SELECT * FROM schema_migrations ORDER BY version').all(),
  ];
}
