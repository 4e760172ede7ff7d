/** The pure parts of the MCP gateway: from a call to an operation, and from a record to what is told. */
import { describe, expect, test } from 'vitest';
import type { Operation } from '../../../shared/client/index.ts';
import { planCall, type CallPlan, type ToolCall } from '../../../control/cli/mcp/call-plan.ts';
import { OUTCOME_META, toldRecord } from '../../../control/cli/mcp/told.ts';
import { parseToolMap, ruleFor, type ToolMap } from '../../../control/cli/mcp/tool-map.ts';
import { sha256Hex } from '../../../shared/platform/digest.ts';
import { fc } from '../../fakes/properties.ts';

const CALL: ToolCall = { tool: 'pay', args: { to: 'a', amount: 3 }, scope: 'talk', callId: 's.1' };
const plan = (call: Partial<ToolCall> = {}, map: ToolMap = [], server = 'bank'): CallPlan =>
  planCall({ ...CALL, ...call }, { server, principal: 'agent:desk', map, sha256: sha256Hex });
const keyOf = (it: CallPlan): string => (it.kind === 'planned' ? it.idempotencyKey : it.detail);

describe('a call', () => {
  test('is an operation of its own action, with its arguments as attributes', () => {
    expect(plan()).toMatchObject({
      request: {
        principal: 'agent:desk',
        action: 'mcp.bank.pay',
        resource: { id: 'mcp/bank/pay' },
        attributes: { to: 'a', amount: 3 },
      },
      effect: 'call',
    });
  });

  test('M1: has the same key where it means the same, and another where it does not', () => {
    const key = keyOf(plan());
    expect(keyOf(plan({ args: { amount: 3, to: 'a' }, callId: 's.2' }))).toBe(key);
    const others = [
      plan({ args: { to: 'a', amount: 4 } }),
      plan({ scope: 'talk-2' }),
      plan({ tool: 'pay2' }),
      plan({}, [], 'bank2'),
      plan({}, [{ tool: 'pay', each: 'call' }]),
      plan({ callId: 's.2' }, [{ tool: 'pay', each: 'call' }]),
    ].map(keyOf);
    expect(new Set([key, ...others]).size).toBe(7);
  });

  test('M1: the key tells any two different arguments apart', () => {
    const args = fc.dictionary(
      fc.string({ minLength: 1, maxLength: 5 }),
      fc.jsonValue({ maxDepth: 2 }),
    );
    fc.assert(
      fc.property(args, args, (one, other) => {
        const isSame = JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
        const [a, b] = [plan({ args: one }), plan({ args: other })];
        expect(keyOf(a) === keyOf(b)).toBe(isSame);
      }),
    );
  });

  test('M2: what the map leaves out is in the digest', () => {
    const map = parseToolMap('tools: { pay: { attributes: [to], resource: "accounts/{to}" } }');
    const [one, other] = [plan({}, map), plan({ args: { to: 'a', amount: 4 } }, map)];
    expect(one).toMatchObject({ request: { resource: { id: 'accounts/a' } } });
    const attributes = [one, other].map((it) => it.kind === 'planned' && it.request.attributes);
    expect(attributes[0]).toMatchObject({ to: 'a' });
    expect(attributes[0]).not.toEqual(attributes[1]);
  });

  test.for([
    [{ args: { text: 'x'.repeat(40_000) } }, '32768'],
    [{ scope: '' }, '1 to 300 characters'],
    [{ tool: 'Pay Now' }, 'give the tool one in the map'],
    [{ args: { ['n'.repeat(101)]: 1 } }, '1 to 100 characters'],
  ] as const)('M3: that does not fit says its bound: %#', ([call, said]) => {
    expect(plan(call as Partial<ToolCall>)).toMatchObject({
      kind: 'unfit',
      detail: expect.stringContaining(said) as string,
    });
  });
});

test('a map says what it does not know, and the longest name counts', () => {
  const map = parseToolMap('tools: { "read_*": { each: call }, read_mail: { action: mail.read } }');
  expect(ruleFor(map, 'read_file')).toMatchObject({ each: 'call' });
  expect(ruleFor(map, 'read_mail')).toMatchObject({ action: 'mail.read' });
  expect(ruleFor(map, 'write')).toBeNull();
  for (const [text, said] of [
    ['tools: { a: { acton: b } }', 'did you mean action?'],
    ['tools: { "a*b": {} }', '* may stand at the end only'],
    ['tools: { a: { each: time } }', 'scope or call'],
    ['tool: {}', 'one key, tools'],
    ['tools: [', 'not YAML'],
  ] as const)
    expect(() => parseToolMap(text)).toThrow(said);
});

describe('what is told of a record', () => {
  const ANSWER = { content: [{ type: 'text', text: 'paid' }] };
  const record = (fields: object): Operation =>
    ({
      operationId: 'op_1',
      reason: null,
      effects: [],
      outcome: null,
      settledAtMs: 0,
      ...fields,
    }) as never;
  const call = (state: string, result: unknown = null): object => ({
    effects: [{ name: 'call', state, result, settledAtMs: 0 }],
  });

  test.for([
    [{ state: 'awaiting_approval', action: 'a' }, 'pending_approval'],
    [{ state: 'accepted' }, 'in_progress'],
    [{ state: 'executing' }, 'in_progress'],
    [{ state: 'paused' }, 'in_progress'],
    [{ state: 'cancelled' }, 'cancelled'],
    [{ state: 'expired' }, 'expired'],
    [{ state: 'unknown', ...call('unknown') }, 'unknown'],
    [{ state: 'failed', ...call('failed') }, 'failed'],
    [{ state: 'succeeded' }, 'succeeded'],
    [
      { state: 'succeeded', ...call('succeeded', { answerOmitted: { bytes: 9, sha256: '' } }) },
      'succeeded',
    ],
  ] as const)('T1, T3: no answer of the tool, no success of the call: %#', ([fields, status]) => {
    const told = toldRecord(record(fields), 'call');
    expect(told.isError).toBe(true);
    expect(told._meta).toMatchObject({ [OUTCOME_META]: { status } });
  });

  test.for(['succeeded', 'failed', 'unknown', 'expired'])(
    'T1: its answer on record is told whatever became of the operation: %s',
    (state) => {
      const told = toldRecord(record({ state, ...call('succeeded', { answer: ANSWER }) }), 'call');
      expect(told.isError).toBeUndefined();
      expect(told.content[0]).toEqual(ANSWER.content[0]);
      expect(told._meta).toMatchObject({ [OUTCOME_META]: { status: 'succeeded', replayed: true } });
    },
  );
});

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? 0 : value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, item]) => [name, sorted(item)]);
}
