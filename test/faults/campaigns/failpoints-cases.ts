/**
 * One step of a client, and one point of it at which the sidecar ends: what is on disk then, what the
 * next start says of it, and what the same request is answered. Where the step died says which of the
 * two answers is the true one, so each case has exactly one right outcome.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { runJournalTool } from '../../../dataplane/journal/journal-tool.ts';
import { SystemClock } from '../../../shared/platform/clock.ts';
import type { FailpointName, FailpointReport } from '../../../shared/platform/failpoints.ts';
import type { Operation } from '../../../shared/wire/operation.ts';
import { EMPTY_CHAIN } from '../check/check-journal.ts';
import type { Lie } from '../check/lie.ts';
import { readJournal, readOperations } from '../check/read-journal.ts';
import { ONCE_EFFECT } from '../history/workload.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import { copySite, type Site } from '../sidecar/site.ts';
import { expectReady, startText } from '../subject.ts';
import type { Undo } from '../undo.ts';
import { ask, untilOutage, type Answer } from './failpoints-client.ts';

export const STEPS = [
  'admit',
  'start_attempt',
  'begin_effect',
  'settle_effect',
  'report_outcome',
] as const;
type Step = (typeof STEPS)[number];
/** Of an operation that has gone through all of them, once. */
const ENTRIES = ['admitted', 'attempt_started', 'effect_begun', 'effect_settled', 'succeeded'];

export type FailpointCase = {
  readonly step: Step;
  readonly point: FailpointName;
  /** Whether what died there is committed. */
  readonly isCommitted: boolean;
};

type Place = readonly [point: FailpointName, isCommitted: boolean];
const JOURNAL_PLACES: readonly Place[] = [
  ['journal.before_begin', false],
  ['journal.before_commit', false],
  ['journal.after_commit', true],
  ['journal.after_head', true],
  ['journal.before_answers', true],
];

function casesOf(step: Step, places: readonly Place[]): FailpointCase[] {
  return places.map(([point, isCommitted]) => ({ step, point, isCommitted }));
}

export const FAILPOINT_CASES: readonly FailpointCase[] = STEPS.flatMap((step) =>
  step === 'admit'
    ? casesOf(step, [
        ['admission.before_submit', false],
        ...JOURNAL_PLACES,
        ['admission.after_answer', true],
      ])
    : casesOf(step, [['execution.before_submit', false], ...JOURNAL_PLACES]),
);

export type CaseResult = {
  /** What was not as promised; empty is good. */
  readonly problems: readonly string[];
  readonly lies: readonly Lie[];
  readonly report: FailpointReport | null;
};

const PRELOAD = new URL('./failpoints-preload.ts', import.meta.url).href;
const END_BOUND_MS = 20_000;
/** An operation that is there before and is in the way of nothing. */
const OTHER_KEY = 'other';
const KEY = 'K';
const PATHS = {
  start_attempt: '/attempts',
  begin_effect: `/attempts/1/effects/${ONCE_EFFECT}`,
  settle_effect: `/attempts/1/effects/${ONCE_EFFECT}`,
  report_outcome: '/attempts/1/outcome',
} as const;

/** For `env`: a program that is started by it has its failpoints armed. */
export function armedEnvironment(failpoints: string, reportFile: string): string[] {
  return [
    'env',
    `NODE_OPTIONS=--import=${PRELOAD}`,
    `HOLDFAST_FAILPOINTS=${failpoints}`,
    `HOLDFAST_FAILPOINTS_REPORT=${reportFile}`,
  ];
}

/** The run that ends at the point, and then a sidecar on the same data with nothing armed. */
export async function runFailpointCase(
  site: Site,
  undo: Undo,
  { step, point, isCommitted }: FailpointCase,
): Promise<CaseResult> {
  const dataDir = join(site.root, `${step}-${point}`);
  const reportFile = `${dataDir}.json`;
  const journalPath = join(dataDir, 'journal/journal.db');
  const problems: string[] = [];
  const expect = (what: string, found: unknown, wanted: unknown): void => {
    if (!isDeepStrictEqual(found, wanted))
      problems.push(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
  };
  copySite(site, dataDir);
  const under = armedEnvironment(failpointsOf(step, point), reportFile);
  const before = await dieAt(new SidecarProcess(site, undo, { dataDir, under }), { site, step });
  const report = readFailpointReport(reportFile);
  expect('died at', [before.signal, report?.killedAt], ['SIGKILL', point]);
  const [recorded] = readOperations(journalPath, [KEY]);
  if (before.answer !== null) {
    // It may still arrive where it was handed over, and is then bound to what is on the disk.
    const { status, body } = before.answer;
    if (point === 'admission.after_answer')
      expect('I1: the answer', [status, body.operationId], [201, recorded?.operationId]);
    else problems.push(`I1: answered ${status} although it died at ${point}`);
  }
  const stage = STEPS.indexOf(step) + (isCommitted ? 1 : 0);
  expect('I1: steps on the disk', stageOf(recorded), stage);
  expect('journal verify after the kill', await verifyCode(dataDir), 0);

  const again = new SidecarProcess(site, undo, { dataDir });
  const started = await again.started();
  if (started.kind !== 'ready') {
    await again.close();
    return { problems: [...problems, `the next start: ${startText(started)}`], lies: [], report };
  }
  const told = { otherId: before.otherId, operationId: recorded?.operationId ?? null };
  await checkAdmission(again, { site, expect, told, isNew: stage === 0 });
  await checkSteps(again, { site, expect, stage });
  await checkAdmission(again, { site, expect, told, isNew: false });
  await checkSteps(again, { site, expect, stage: STEPS.length });
  await again.close();
  expect('journal verify at the end', await verifyCode(dataDir), 0);
  const { lies } = readJournal(journalPath, EMPTY_CHAIN);
  rmSync(dataDir, { recursive: true });
  return { problems, lies, report };
}

/** Its own point by its count; one of the journal is the next that is reached once the step is asked for. */
function failpointsOf(step: Step, point: FailpointName): string {
  const isAdmit = step === 'admit';
  const times = isAdmit ? 2 : STEPS.indexOf(step);
  const first = isAdmit ? 'admission.before_submit' : 'execution.before_submit';
  return point.startsWith('journal.')
    ? `${point}=kill@1 after ${first}@${times}`
    : `${point}=kill@${times}`;
}

async function dieAt(sidecar: SidecarProcess, { site, step }: { site: Site; step: Step }) {
  await expectReady(sidecar);
  // Its entry is then written, and no batch is on its way but those that are asked for here.
  await untilOutage(sidecar.url, site);
  const other = await ask(sidecar.url, site, admission(OTHER_KEY));
  let answer = await ask(sidecar.url, site, admission(KEY));
  const operationId = answer?.body.operationId ?? '';
  for (const name of STEPS.slice(1, STEPS.indexOf(step) + 1))
    answer = await ask(sidecar.url, site, requestOf(name, operationId));
  const ended = await sidecar.untilEnded(END_BOUND_MS);
  await sidecar.close();
  if (ended === null) throw new Error(`it was to die in ${step} and goes on`);
  return { signal: ended.signal, answer, otherId: other?.body.operationId ?? '' };
}

type Checking = {
  readonly site: Site;
  readonly expect: (what: string, found: unknown, wanted: unknown) => void;
};

/** I2: the same key thrice, the same key with other words, and nothing beside the two operations. */
async function checkAdmission(
  { url }: SidecarProcess,
  parts: Checking & {
    readonly told: { readonly otherId: string; readonly operationId: string | null };
    readonly isNew: boolean;
  },
): Promise<void> {
  const { site, expect, told, isNew } = parts;
  const first = await ask(url, site, admission(KEY));
  const replayed = first?.replayed ?? false;
  expect('I2: the same key', [first?.status, replayed], isNew ? [201, false] : [200, true]);
  const id = first?.body.operationId;
  if (told.operationId !== null) expect('I2: its operation', id, told.operationId);
  const second = await ask(url, site, admission(KEY));
  expect('I2: the same key once more', [second?.status, second?.replayed], [200, true]);
  expect('I2: its record', second?.body, first?.body);
  const reused = await ask(url, site, admission(KEY, 99));
  expect(
    'I2: another payload',
    [reused?.status, reused?.body.code],
    [422, 'idempotency_key_reused'],
  );
  const other = await ask(url, site, admission(OTHER_KEY));
  expect('I1: the other operation', [other?.status, other?.body.operationId], [200, told.otherId]);
  const listed = await ask(url, site, { method: 'GET', path: '/v1/operations' });
  expect(
    'I1: all operations',
    listed?.body.items?.map(({ operationId }) => operationId).toSorted(),
    [id ?? '', told.otherId].toSorted(),
  );
}

/** From the last step on, which is asked for again, to the end: each is answered by what is true. */
async function checkSteps(
  { url }: SidecarProcess,
  { site, expect, stage }: Checking & { readonly stage: number },
): Promise<void> {
  const admitted = await ask(url, site, admission(KEY));
  const id = admitted?.body.operationId ?? '';
  const read = (): Promise<Answer | null> =>
    ask(url, site, { method: 'GET', path: `/v1/operations/${id}` });
  const isEnded = stage === STEPS.length;
  expect('I1: steps after the start', stageOf((await read())?.body), Math.max(1, stage));
  for (const [place, name] of STEPS.entries()) {
    // Those that were answered before are not asked for again: their attempt has gone on.
    if (name === 'admit' || (!isEnded && place < stage - 1)) continue;
    const answer = await ask(url, site, requestOf(name, id));
    const isDone = place < stage;
    const isStart = name === 'start_attempt';
    if (isEnded && isStart) {
      expect('I8: no attempt of what has ended', answer?.status, 409);
      continue;
    }
    const makes = isStart || name === 'begin_effect';
    expect(`I9: ${name} again`, answer?.status, makes && !isDone ? 201 : 200);
    if (isStart) expect('I9: the attempt', answer?.body.attempt, 1);
    if (name === 'begin_effect') {
      // The recorded result comes back for a begin once there is one, and not before.
      expect('I9: the effect is told as done', answer?.body.replayed, isEnded);
    }
    expect(`I9: steps after ${name}`, stageOf((await read())?.body), Math.max(stage, place + 1));
  }
  const path = `/v1/operations/${id}/explanation`;
  const explained = await ask(url, site, { method: 'GET', path });
  const kinds = explained?.body.events?.map(({ kind }) => kind);
  expect('I2, I9: entries of the operation', kinds, ENTRIES);
}

function admission(key: string, amount = 5) {
  return {
    method: 'POST',
    path: '/v1/operations',
    key,
    body: { principal: 'agent:worker', action: 'jobs.run', attributes: { amount } },
  } as const;
}

function requestOf(step: Step, operationId: string) {
  if (step === 'admit') return admission(KEY);
  const path = `/v1/operations/${operationId}${PATHS[step]}`;
  const begins = step === 'start_attempt' || step === 'begin_effect';
  if (begins)
    return {
      method: 'POST',
      path,
      key: `${step} of ${KEY}`.replaceAll(' ', '-'),
      body: {},
    } as const;
  const body = { outcome: 'succeeded', result: `${step} of ${KEY}` };
  return { method: 'PUT', path, body } as const;
}

/** How many of `STEPS` a record shows, and nothing besides them; what is none of that is -1. */
function stageOf(operation: Partial<Operation> | undefined): number {
  if (operation === undefined) return 0;
  const { state, attempt, effects = [], outcome } = operation;
  const shown = [state, attempt, effects.map((effect) => effect.state).join(), outcome?.outcome];
  const stages = [
    ['accepted', 0, '', undefined],
    ['executing', 1, '', undefined],
    ['executing', 1, 'begun', undefined],
    ['executing', 1, 'succeeded', undefined],
    ['succeeded', 1, 'succeeded', 'succeeded'],
  ];
  const place = stages.findIndex((stage) => isDeepStrictEqual(stage, shown));
  return place === -1 ? -1 : place + 1;
}

/** As an operator asks it. */
export function verifyCode(dataDir: string): Promise<number> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const ports = { clock: new SystemClock(), out: nowhere, err: nowhere };
  return runJournalTool(['verify', '--data-dir', dataDir], ports);
}

export function readFailpointReport(path: string): FailpointReport | null {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as FailpointReport) : null;
}
