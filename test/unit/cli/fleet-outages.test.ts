import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openStandIn, type StandIn } from '../../fakes/http-stand-in.ts';
import { runQuietly } from '../../fakes/run-command.ts';

let cwd = '';
let asked: string[] = [];
let standIn: StandIn;
let answers: Record<string, object[]> = {};

beforeEach(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  asked = [];
  standIn = await openStandIn(({ method, path }) => {
    asked.push(`${method} ${path}`);
    const body = answers[`${method} ${path.split('?')[0] ?? ''}`]?.shift();
    if (body === undefined) throw new Error(`${method} ${path} was not expected`);
    return { status: 200, body };
  });
});
afterEach(async () => {
  await standIn.close();
  rmSync(cwd, { recursive: true });
});

async function run(...argv: string[]) {
  return runQuietly(['--control', standIn.url, ...argv], {
    cwd,
    env: { HOLDFAST_CONTROL_TOKEN: 'secret' },
  });
}

const DOWN = {
  outageId: 'out_down',
  seenBy: 'control',
  hostId: null,
  hostName: null,
  fromMs: 1_000,
  toMs: 61_000,
  cause: 'control_down',
  detail: 'run 3 of control was stopped',
  policyRevision: null,
  stalenessMs: null,
};
const REPORTED = {
  ...DOWN,
  outageId: 'out_host',
  seenBy: 'host',
  hostId: 'host_1',
  hostName: 'one',
  cause: 'refused',
  toMs: null,
  policyRevision: 4,
};

test('the outages of the fleet are listed with who saw them, and filtered', async () => {
  answers = { 'GET /v1/outages': [{ items: [REPORTED, DOWN], nextCursor: null }] };
  const { out, exitCode } = await run(
    'fleet',
    'outages',
    '--open',
    '--host=host_1',
    '--seen-by=host',
    '--limit=7',
  );
  expect(exitCode).toBe(0);
  expect(asked).toEqual(['GET /v1/outages?host=host_1&seenBy=host&limit=7&open=true']);
  expect(out).toMatch(/out_host\s+one\s+host/);
  expect(out).toMatch(/out_down\s+all \(control itself\)\s+control.*control_down/);
});

test('one outage says what its host did, and what else was away', async () => {
  const tally = { admitted: 5, refused: 2, paused: 0, succeeded: 4 };
  const rest = { failed: 0, cancelled: 0, expired: 0, unknown: 1 };
  const shown = { ...REPORTED, tally: { ...tally, ...rest }, unreported: 12, overlaps: [DOWN] };
  answers = { 'GET /v1/outages/out_host': [shown] };
  const { out } = await run('fleet', 'outage', 'out_host');
  expect(out).toMatch(/admitted:\s+5/);
  expect(out).toMatch(/unreported:\s+12/);
  expect(out).toMatch(/Also away at that time[^]*control_down/);
});

test('what cannot be read is listed, and read again to the end', async () => {
  const event = {
    hostId: 'host_1',
    hostEpoch: 1,
    seq: 9,
    kind: 'teleported',
    operationId: 'op_1',
    atMs: 1_000,
    receivedAtMs: 2_000,
    problem: 'kind teleported is not known to this version',
    bodyText: '{"to":"mars"}',
  };
  answers = {
    'GET /v1/unreadable-events': [{ items: [event], nextCursor: null }],
    'POST /v1/unreadable-events:reread': [
      { read: 3, left: 1, nextCursor: 'abc' },
      { read: 2, left: 0, nextCursor: null },
    ],
  };
  expect((await run('fleet', 'unreadable')).out).toMatch(/host_1\s+9\s+teleported.*not known/);
  const reread = await run('fleet', 'reread');
  expect(asked.slice(1)).toEqual([
    'POST /v1/unreadable-events:reread',
    'POST /v1/unreadable-events:reread?cursor=abc',
  ]);
  expect(reread.out).toMatch(/read:\s+5/);
  expect(reread.out).toMatch(/left:\s+1/);
  expect(reread.exitCode).toBe(0);
});
