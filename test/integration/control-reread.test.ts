import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ReportWrite } from '../../control/store/control-store.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { BEGUN_EFFECT, operationIdOf, reportedAdmission } from '../fakes/reported-operations.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
let host: SigningHost;
beforeEach(async () => {
  world = await ControlWorld.create();
  host = await world.enrolHost();
});
afterEach(() => world.dispose());

const admit = (number: number, outageId: string | null = null): unknown =>
  host.record('admitted', reportedAdmission(host.id, number), operationIdOf(number), outageId);
const change = (number: number, kind: string, over: Record<string, unknown> = {}) =>
  host.record(
    kind,
    { state: 'executing', reason: null, attempt: 1, ...over },
    operationIdOf(number),
  );

const shown = async (path: string) =>
  (await world.get(path)).json['items'] as Record<string, unknown>[];
const reread = async (query = '') =>
  (await world.call('POST', `/v1/unreadable-events:reread${query}`)).json;

/** As an older control would have stored them: these are parked, and fold into nothing. */
function parking(isParked: (event: ReportWrite['events'][number]['event']) => boolean): void {
  const { reports } = world.store;
  const append = reports.append.bind(reports);
  reports.append = (write) => {
    const parked = write.events.filter(({ event }) => isParked(event));
    const names = new Set(parked.map(({ event }) => event.operationId));
    return append({
      ...write,
      events: write.events.map((one) =>
        isParked(one.event) ? { ...one, problem: 'not known to this version' } : one,
      ),
      operations: write.operations
        .filter((operation) => !names.has(operation.operationId) || operation.effects.length > 0)
        .map((operation) => ({ ...operation, effects: [] })),
      outages: [],
      tallies: new Map(),
    });
  };
}

describe('I12: parked events are read again', () => {
  test('an operation becomes what it would be had all been read when it came', async () => {
    admit(1, 'out_1');
    change(1, 'attempt_started');
    admit(2);
    change(2, 'effect_begun', { effect: BEGUN_EFFECT });
    change(2, 'succeeded', { state: 'succeeded' });
    parking(({ operationId: id, kind }) => id === operationIdOf(1) || kind === 'effect_begun');
    await host.reported(host.journal());
    expect(await shown('/v1/operations')).toMatchObject([
      { operationId: operationIdOf(2), effects: [] },
    ]);
    expect(await shown('/v1/unreadable-events')).toHaveLength(3);
    await world.restart();

    expect(await reread()).toEqual({ read: 3, left: 0, nextCursor: null });
    expect(await shown('/v1/unreadable-events')).toEqual([]);
    expect(await shown('/v1/operations')).toMatchObject([
      { operationId: operationIdOf(2), state: 'succeeded', lastSeq: 5, effects: [BEGUN_EFFECT] },
      { operationId: operationIdOf(1), state: 'executing', lastSeq: 2, outageId: 'out_1' },
    ]);
    expect(await reread()).toEqual({ read: 0, left: 0, nextCursor: null });
    const audit = await shown('/v1/audit');
    expect(audit[1]).toMatchObject({ action: 'reports.reread', detail: { read: 3, left: 0 } });
    // What comes later goes on from there.
    change(1, 'succeeded', { state: 'succeeded' });
    await host.reported(host.journal());
    expect((await world.get(`/v1/operations/${operationIdOf(1)}`)).json['state']).toBe('succeeded');
  });

  test('what still cannot be read stays as it came, and is shown', async () => {
    host.record('teleported', { to: 'mars' }, operationIdOf(1));
    change(7, 'succeeded');
    await host.reported(host.journal());
    expect(await reread()).toEqual({ read: 0, left: 2, nextCursor: null });
    expect(await shown('/v1/unreadable-events')).toMatchObject([
      { seq: 2, kind: 'succeeded' },
      { seq: 1, kind: 'teleported', bodyText: '{"to":"mars"}' },
    ]);
  });

  test('an outage that was opened in a parked event is not opened again after its end', async () => {
    const outage = {
      outageId: 'out_1',
      fromMs: 5,
      toMs: null,
      cause: 'refused',
      detail: 'x',
      policyRevision: 1,
      stalenessMs: 3,
    };
    host.record('outage_opened', { outage }, null, 'out_1');
    parking(() => true);
    await host.reported(host.journal());
    await world.restart();
    host.record('outage_closed', { outage: { ...outage, toMs: 9 } }, null, 'out_1');
    await host.reported(host.journal());
    expect(await reread()).toMatchObject({ read: 1, left: 0 });
    expect(await shown('/v1/outages?seenBy=host')).toMatchObject([{ toMs: 9 }]);
  });

  test('many go in rounds, and a wrong cursor is refused', async () => {
    for (let number = 0; number < 450; number += 1) host.record('teleported', { number });
    await host.reported(host.journal());
    expect(await reread()).toEqual({ read: 0, left: 450, nextCursor: null });
    expect(await reread('?cursor=nonsense')).toMatchObject({ code: 'invalid_request' });
  });

  test('only operators may ask for it', async () => {
    expect((await world.call('POST', '/v1/unreadable-events:reread', { token: null })).status).toBe(
      401,
    );
  });
});
