/** The fuzzers in their quick form under one seed, and everything that they found, once more. */
import { readFileSync, readdirSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ControlWorld } from '../fakes/control-world.ts';
import { OPERATOR_TOKEN, openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { Undo } from '../faults/undo.ts';
import { judgeEnd } from '../fuzz/api/answer-judge.ts';
import { api } from '../fuzz/api/api-fuzzer.ts';
import { Description, type OpenApi } from '../fuzz/api/description.ts';
import { WireClient, type WireEnd } from '../fuzz/api/wire-client.ts';
import { bundle } from '../fuzz/bundle-fuzzer.ts';
import { Draw } from '../fuzz/draw.ts';
import type { Fuzzer, FuzzReport } from '../fuzz/fuzzer.ts';
import { journal } from '../fuzz/journal-fuzzer.ts';
import { checkPolicyInput, policy, type PolicyInput } from '../fuzz/policy-fuzzer.ts';
import { sync } from '../fuzz/sync-fuzzer.ts';

const SEED = 20_261_124;
const BOUND_MS = 120_000;
const ANSWER_BOUND_MS = 10_000;

const undo = new Undo();
afterEach(() => undo.undoAll());

function quick(fuzzer: Fuzzer, cases: number): Promise<FuzzReport> {
  return fuzzer.run({
    seed: SEED,
    from: 0,
    cases,
    undo,
    isOver: () => false,
    say: () => undefined,
  });
}

test(
  'I1: broken requests break neither daemon, nor what it promised to others',
  async () => {
    const { counts, findings } = await quick(api, 400);
    expect(findings).toEqual([]);
    for (const name of ['sidecar', 'control']) {
      expect(counts[`${name}: requests`]).toBe(400);
      expect(counts[`${name}: answered 2xx`]).toBeGreaterThan(20);
      expect(counts[`${name}: answered 4xx`]).toBeGreaterThan(100);
    }
  },
  BOUND_MS,
);

test.each([
  ['policy', policy, 100, 'passed and decided'],
  ['bundle', bundle, 60, 'damaged: signature_invalid'],
  ['sync', sync, 40, 'damaged on the way'],
  ['journal', journal, 8, 'wal: quarantined'],
] as const)(
  'I10, I11: %s: nothing is found under the seed of the house',
  async (_, fuzzer, cases, count) => {
    const { counts, findings } = await quick(fuzzer, cases);
    expect(findings).toEqual([]);
    expect(counts[count]).toBeGreaterThan(0);
  },
  BOUND_MS,
);

type Found =
  | { readonly fuzzer: 'api'; readonly daemon: 'sidecar' | 'control'; readonly request: string }
  | ({ readonly fuzzer: 'policy' } & PolicyInput);

const FOLDER = new URL('../fuzz/found/', import.meta.url);
const FOUND = readdirSync(FOLDER).map(
  (name) => [name, JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as Found] as const,
);
const POLICIES = FOUND.flatMap(([name, found]) =>
  found.fuzzer === 'policy' ? [[name, found] as const] : [],
);
const REQUESTS = FOUND.flatMap(([name, found]) =>
  found.fuzzer === 'api' ? [[name, found] as const] : [],
);

describe('what was found', () => {
  let sidecar: TestSidecar;
  let control: ControlWorld;
  beforeAll(async () => {
    sidecar = await openTestSidecar();
    await sidecar.app.listen({ port: 0, host: '127.0.0.1' });
    control = await ControlWorld.create();
  });
  afterAll(async () => {
    await sidecar.close();
    await control.dispose();
  });

  test.each(POLICIES)('%s stays mended', (_, found) => {
    expect(checkPolicyInput(found, Draw.ofCase(SEED, 0)).problem).toBeNull();
  });

  test.each(REQUESTS)('%s stays mended', async (_, found) => {
    const isControl = found.daemon === 'control';
    const address = sidecar.app.server.address() as AddressInfo;
    const port = isControl ? Number(new URL(control.address).port) : address.port;
    const text = found.request
      .replaceAll('{{host}}', `127.0.0.1:${port}`)
      .replaceAll('{{token}}', isControl ? control.adminToken : OPERATOR_TOKEN);
    const described = await fetch(`http://127.0.0.1:${port}/openapi.json`);
    const description = new Description((await described.json()) as OpenApi);
    const client = new WireClient(port);
    const end = await client.send(Buffer.from(text, 'latin1'), {
      isHead: false,
      boundMs: ANSWER_BOUND_MS,
    });
    client.close();
    const [method = '', target = ''] = text.split(' ', 2);
    expect(end.kind).toBe('answer');
    expect(judgeEnd(description, { method, target }, end)).toEqual({ kind: 'right' });
  });
});

describe('the judge', () => {
  const description = new Description({
    paths: {
      '/v1/things/{id}': {
        get: {
          responses: {
            '200': {
              content: {
                'application/json': {
                  schema: {
                    type: 'object',
                    required: ['id'],
                    properties: { id: { type: 'string' } },
                  },
                },
              },
            },
            '4XX': {},
          },
        },
      },
    },
  });
  const asked = { method: 'GET', target: '/v1/things/a?b=c' };
  const ended = (status: number, type: string, body: unknown): WireEnd => ({
    kind: 'answer',
    answer: { status, headers: new Map([['content-type', type]]), body: JSON.stringify(body) },
  });
  const problem = (code: string, status: number): WireEnd =>
    ended(status, 'application/problem+json; charset=utf-8', { code, status });

  test.each<[string, WireEnd, string | null]>([
    ['a good answer', ended(200, 'application/json', { id: 'a' }), null],
    ['a problem of the table', problem('not_found', 404), null],
    ['a closed connection', { kind: 'closed' }, null],
    ['another shape', ended(200, 'application/json', { id: 7 }), 'not as described'],
    ['another status', ended(201, 'application/json', { id: 'a' }), 'not described'],
    [
      'no problem',
      ended(400, 'application/json', { code: 'not_found' }),
      'an error that is no problem',
    ],
    ['a code of nobody', problem('made_up', 404), 'an error that is no problem'],
    ['a code under another status', problem('not_found', 400), 'an error that is no problem'],
    ['a failure', problem('internal', 500), 'an error that is no problem'],
    ['silence', { kind: 'silence', afterMs: 1 }, 'no answer'],
    ['what is no HTTP', { kind: 'garbage', detail: '' }, 'no HTTP'],
  ])('%s is seen as what it is', (_, end, what) => {
    const verdict = judgeEnd(description, asked, end);
    expect(verdict.kind === 'wrong' ? verdict.what : null).toBe(what);
  });
});
