/** The recovery view as operators read it: pages, the export, and the commands, over a real journal. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCommand } from '../../control/cli/program.ts';
import type { Operation, Outage } from '../../shared/wire/operation.ts';
import type { Recovery, RecoveryPage } from '../../shared/wire/recovery-api.ts';
import { OPERATOR_TOKEN, openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { NOTIFY, OUTAGE, REPORT, asOperator, callerOf } from '../fakes/sidecar-caller.ts';

const DURING = 7;
let sidecar: TestSidecar;
let url: string;
let cwd: string;
const { call, admit } = callerOf(() => sidecar);
const idOf = async (answer: ReturnType<typeof admit>): Promise<string> =>
  (await answer).json<Operation>().operationId;

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'recovery-'));
  sidecar = await openTestSidecar();
  url = await sidecar.app.listen({ port: 0, host: '127.0.0.1' });
  const before = await idOf(admit(NOTIFY, 'before'));
  await admit(REPORT, 'paused');
  await sidecar.journal.recordOutage('outage_opened', OUTAGE);
  sidecar.authority.outage = OUTAGE;
  sidecar.authority.outOfReach = 60_000;
  await sidecar.custodian.round();
  await call('POST', `/v1/operations/${before}/attempts`, { body: {} });
  for (let number = 0; number < DURING; number += 1) await admit(NOTIFY, `during-${number}`);
  const refund = { ...NOTIFY, action: 'payments.refund', attributes: { amount: 5 } };
  for (let number = 0; number < 3; number += 1) await admit(refund, `refund-${number}`);
  const unknown = { outcome: 'unknown', reason: 'no answer' };
  await call('PUT', `/v1/operations/${before}/attempts/1/outcome`, { body: unknown });
});

afterAll(async () => {
  await sidecar.close();
  rmSync(cwd, { recursive: true });
});

const read = async <T>(path: string): Promise<T> =>
  (await call('GET', path, { headers: asOperator })).json<T>();

async function holdfast(
  ...argv: string[]
): Promise<{ exitCode: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const exitCode = await runCommand({
    argv,
    env: { HOLDFAST_SIDECAR_URL: url, HOLDFAST_SIDECAR_TOKEN: OPERATOR_TOKEN },
    cwd,
    stdout: { write: (text) => (written.out += text) },
    stderr: { write: (text) => (written.err += text) },
  });
  return { exitCode, ...written };
}

describe('I8, I12: the lists, by pages', () => {
  test.each([
    ['accepted_before', 2],
    ['continued', 1 + DURING],
    ['stopped', 1],
    ['refused', 3],
    ['needs_reconciliation', 1],
  ] as const)('%s: as many as are counted, each once', async (list, count) => {
    const seen: string[] = [];
    let path = `/v1/recovery/${list}?limit=2`;
    for (;;) {
      const page = await read<RecoveryPage>(path);
      expect(page).toMatchObject({ list, count, outageId: OUTAGE.outageId });
      for (const item of page.items)
        seen.push('refusalId' in item ? item.refusalId : item.operationId);
      if (page.nextCursor === null) break;
      path = `/v1/recovery/${list}?limit=2&cursor=${page.nextCursor}`;
    }
    expect(seen).toHaveLength(count);
    expect(new Set(seen).size).toBe(count);
  });

  test('the view has the first page of each, and says where it goes on', async () => {
    const view = await read<Recovery>('/v1/recovery');
    expect(view).toMatchObject({
      verdict: 'open',
      pruned: false,
      tally: { acceptedBefore: 2, advancedDuring: 1, admittedDuring: DURING, unknownDuring: 1 },
      continued: { count: 1 + DURING, nextCursor: null, truncated: false },
    });
  });

  test('a cursor is of its list and its outage, and of no other', async () => {
    const { nextCursor } = await read<RecoveryPage>('/v1/recovery/continued?limit=1');
    for (const path of [
      `/v1/recovery/refused?cursor=${nextCursor}`,
      `/v1/recovery/continued?cursor=${nextCursor}&outage=out_another`,
      '/v1/recovery/continued?cursor=nonsense',
    ]) {
      expect(await read(path), path).toMatchObject({ code: 'invalid_request' });
    }
    expect(await read('/v1/recovery/stopped?outage=out_9')).toMatchObject({ code: 'not_found' });
    expect(await read('/v1/recovery:export?outage=out_9')).toMatchObject({ code: 'not_found' });
  });

  test('an app does not read what is of all apps', async () => {
    for (const path of ['/v1/recovery/continued', '/v1/recovery:export'])
      expect((await call('GET', path)).json()).toMatchObject({ code: 'forbidden' });
  });
});

test('an outage by its id has its moments and what happened in it so far', async () => {
  expect(await read<Outage>(`/v1/outages/${OUTAGE.outageId}`)).toMatchObject({
    openedSeq: 3,
    tally: { admitted: DURING, refused: 3, refusedByReason: { control_unreachable: 3 } },
  });
  expect(await read('/v1/outages/out_9')).toMatchObject({ code: 'not_found' });
});

describe('the export', () => {
  const lines = (text: string): { list: string; lines?: number }[] =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as never);

  test('has a verdict, a line for each entry with its list, and an end that tells it is whole', async () => {
    const { body, headers } = await call('GET', '/v1/recovery:export', { headers: asOperator });
    expect(headers['content-type']).toBe('application/x-ndjson');
    const all = lines(body);
    const count = (list: string): number => all.filter((line) => line.list === list).length;
    expect(all[0]).toMatchObject({ list: 'outage', verdict: 'open' });
    expect(all.at(-1)).toEqual({ list: 'end', lines: all.length - 1 });
    expect(
      ['accepted_before', 'continued', 'stopped', 'refused', 'needs_reconciliation'].map(count),
    ).toEqual([2, 1 + DURING, 1, 3, 1]);
  });

  test('is the same from the other address, and from the command', async () => {
    const own = (await call('GET', '/v1/recovery:export', { headers: asOperator })).body;
    expect(own).not.toMatch(/attemptKeys|beginKey|deadlineBoot/);
    const accept = { ...asOperator, accept: 'application/x-ndjson' };
    const body = (text: string): unknown => lines(text).slice(1);
    expect(body((await call('GET', '/v1/recovery', { headers: accept })).body)).toEqual(body(own));
    const { exitCode, out, err } = await holdfast('recovery', '--export', '-');
    expect([exitCode, err]).toEqual([0, '']);
    expect(body(out)).toEqual(body(own));
    expect((await holdfast('recovery', '--export', 'out.ndjson')).exitCode).toBe(0);
    expect(body(readFileSync(join(cwd, 'out.ndjson'), 'utf8'))).toEqual(body(own));
  });

  test('writes over no file, and leaves none where it fails', async () => {
    writeFileSync(join(cwd, 'mine'), 'mine');
    const over = await holdfast('recovery', '--export', 'mine');
    expect([over.exitCode, over.err]).toEqual([1, expect.stringContaining('file_exists')]);
    expect(readFileSync(join(cwd, 'mine'), 'utf8')).toBe('mine');
    const nowhere = await holdfast('recovery', '--export', 'no/where');
    expect(nowhere.err).toContain('file_unwritable');
    const none = await holdfast('recovery', '--outage', 'out_9', '--export', 'none');
    expect(none.err).toContain('holdfast outages');
    expect(existsSync(join(cwd, 'none.partial'))).toBe(false);
  });
});

describe('the commands', () => {
  test('recovery: counts, verdict, lists', async () => {
    const { out } = await holdfast('recovery');
    expect(out).toMatch(/^outage: +out_1, .* to now \(refused\)$/m);
    expect(out).toMatch(/^accepted before: +2, of which 1 got on$/m);
    expect(out).toContain(`Continued under cached authority: ${1 + DURING}`);
    expect(out).toContain('Needs reconciliation: 1');
  });

  test('recovery --list: one list, as many as are asked for, and where it goes on', async () => {
    const args = ['recovery', '--list', 'continued', '--limit', '5', '-o', 'json'];
    const first = JSON.parse((await holdfast(...args)).out) as RecoveryPage;
    expect(first.items).toHaveLength(5);
    const rest = await holdfast(...args, '--cursor', first.nextCursor ?? '');
    expect((JSON.parse(rest.out) as RecoveryPage).items).toHaveLength(DURING + 1 - 5);
    expect((await holdfast('recovery', '--list', 'refused')).out).toContain('control_unreachable');
  });

  test.each([
    [['--list', 'lost'], /one of accepted-before/],
    [['--limit', '3'], /go with --list/],
    [['--export', '-', '--list', 'stopped'], /leave --list out/],
  ])('recovery %j is told the way out', async (args, said) => {
    const { exitCode, err } = await holdfast('recovery', ...args);
    expect([exitCode, err]).toEqual([2, expect.stringMatching(said)]);
  });

  test('outages, and one of them', async () => {
    expect((await holdfast('outages')).out).toMatch(/out_1 .* open .* refused/);
    const { out } = await holdfast('outages', 'show', OUTAGE.outageId);
    expect(out).toMatch(/^refused: +3 \(control_unreachable 3\)$/m);
  });
});
