import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AT_ONCE_MAX } from '../../control/core/report-queue.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { entryHash, eventHash } from '../../shared/platform/entry-hash.ts';
import type { JournalEvent } from '../../shared/wire/operation.ts';
import { writeReportLines } from '../../shared/wire/report-lines.ts';
import { ReportAnswerSchema, STATEMENT_TYPES } from '../../shared/wire/statements.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import {
  BEGUN_EFFECT,
  operationIdOf,
  reportedAdmission,
  reportedRefusal,
} from '../fakes/reported-operations.ts';
import { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
let host: SigningHost;
beforeEach(async () => {
  world = await ControlWorld.create();
  host = await world.enrolHost();
});
afterEach(() => world.dispose());

const admit = (number: number) =>
  host.record('admitted', reportedAdmission(host.id, number), operationIdOf(number));
const change = (number: number, kind: string, over: Record<string, unknown> = {}) =>
  host.record(kind, { state: kind, reason: null, attempt: 1, ...over }, operationIdOf(number));
const rechain = (event: JournalEvent, over: Partial<JournalEvent>): JournalEvent => {
  const { hash: _hash, previousHash, ...content } = { ...event, ...over };
  return { ...content, previousHash, hash: eventHash(previousHash, content) };
};
const shown = async (path: string) =>
  (await world.get(path)).json['items'] as Record<string, unknown>[];

describe('I12: reports', () => {
  test('are folded into what the operation is now, with its events', async () => {
    admit(1);
    const effect = BEGUN_EFFECT;
    change(1, 'attempt_started', { state: 'executing' });
    change(1, 'effect_begun', { state: 'executing', effect });
    change(1, 'effect_settled', {
      state: 'executing',
      effect: { ...effect, state: 'succeeded', settledAtMs: 4 },
    });
    const outcome = {
      outcome: 'succeeded',
      provenance: 'asserted',
      result: { id: 1 },
      reason: null,
      attempt: 1,
      atMs: 5,
      late: false,
    };
    change(1, 'succeeded', { outcome });
    expect(await host.reported(host.journal())).toMatchObject({ ackedSeq: 5, hostId: host.id });
    const read = (await world.get(`/v1/operations/${operationIdOf(1)}`)).json;
    expect(read).toMatchObject({
      state: 'succeeded',
      outcome,
      lastSeq: 5,
      effects: [{ name: 'charge', state: 'succeeded' }],
    });
    expect((read['events'] as JournalEvent[]).map(({ kind }) => kind)).toEqual([
      'admitted',
      'attempt_started',
      'effect_begun',
      'effect_settled',
      'succeeded',
    ]);
    expect(read['events']).toEqual(host.journal());
    expect((await host.sync()).ackedSeq).toBe(5);
    expect((await world.get('/v1/operations/op_none')).status).toBe(404);
  });

  test('are listed newest first, by host and by state, in pages', async () => {
    for (let number = 1; number <= 5; number += 1) admit(number);
    change(2, 'unknown');
    await host.reported(host.journal());
    expect((await shown('/v1/operations?limit=2')).map((item) => item['operationId'])).toEqual([
      operationIdOf(5),
      operationIdOf(4),
    ]);
    const first = (await world.get('/v1/operations?limit=4')).json;
    const rest = await shown(`/v1/operations?limit=4&cursor=${String(first['nextCursor'])}`);
    expect(rest.map((item) => item['operationId'])).toEqual([operationIdOf(1)]);
    expect(await shown('/v1/operations?state=unknown')).toMatchObject([
      { operationId: operationIdOf(2) },
    ]);
    expect(await shown(`/v1/operations?host=${host.id}`)).toHaveLength(5);
    expect(await shown('/v1/operations?host=host_other')).toEqual([]);
    expect((await world.get('/v1/operations?state=done')).status).toBe(400);
    const { items } = (await world.get('/v1/operations')).json as { items: object[] };
    expect(items[0]).not.toHaveProperty('hostEpoch');
  });

  test('sent again change nothing; overlapping ones add what is new', async () => {
    admit(1);
    admit(2);
    await host.reported(host.journal());
    expect((await host.reported(host.journal())).ackedSeq).toBe(2);
    change(1, 'expired');
    expect((await host.reported(host.journal())).ackedSeq).toBe(3);
    expect((await host.reported(host.journal(1).slice(0, 1))).ackedSeq).toBe(3);
    expect(await shown('/v1/operations')).toHaveLength(2);
    expect(await world.metric('holdfast_control_reports_total{outcome="duplicate"}')).toBe(2);
    expect(await world.metric('holdfast_control_report_events_total{readable="yes"}')).toBe(3);
  });

  test('sent twice at once are stored once', async () => {
    for (let number = 1; number <= 20; number += 1) admit(number);
    const answers = await Promise.all([1, 2, 3, 4].map(() => host.reported(host.journal())));
    expect(answers.map(({ ackedSeq }) => ackedSeq)).toEqual([20, 20, 20, 20]);
    expect(await world.metric('holdfast_control_report_events_total{readable="yes"}')).toBe(20);
  });

  test('that the store refuses are tried again, and never acknowledged unless they are stored', async () => {
    admit(1);
    const { reports } = world.store;
    const append = reports.append.bind(reports);
    let tries = 0;
    const refusing = (times: number): void => {
      tries = 0;
      reports.append = (write) => {
        tries += 1;
        return tries <= times ? Promise.resolve('conflict') : append(write);
      };
    };
    refusing(Infinity);
    const refused = await host.report(host.journal());
    expect([refused.status, refused.json['code']]).toEqual([503, 'overloaded']);
    expect((await host.sync()).ackedSeq).toBe(0);
    refusing(1);
    expect((await host.reported(host.journal())).ackedSeq).toBe(1);
    expect(tries).toBe(2);
    expect(await shown('/v1/operations')).toHaveLength(1);
    expect(await world.metric('holdfast_control_report_events_total{readable="yes"}')).toBe(1);
  });

  test('with a gap are refused, and the detail names where to go on', async () => {
    for (let number = 1; number <= 4; number += 1) admit(number);
    const ahead = await host.report(host.journal(3));
    expect([ahead.status, ahead.json['code']]).toEqual([409, 'report_gap']);
    expect(ahead.json['detail']).toMatch(/expected seq 1, got 3/);
    const [first, , third] = host.journal();
    expect((await host.report([first!, third!])).json['code']).toBe('report_gap');
    expect((await host.reported(host.journal())).ackedSeq).toBe(4);
  });

  test('that contradict the chain are refused: content, link, and history', async () => {
    admit(1);
    const second = admit(2);
    const third = admit(3);
    await host.reported(host.journal().slice(0, 2));
    const refused = async (events: JournalEvent[]) => (await host.report(events)).json['code'];
    expect(await refused([{ ...third, atMs: 1 }])).toBe('report_conflict');
    expect(await refused([rechain(third, { previousHash: 'a'.repeat(64) })])).toBe(
      'report_conflict',
    );
    const rewritten = rechain(second, { atMs: 7 });
    expect(await refused([rewritten])).toBe('report_conflict');
    expect(await refused([rewritten, rechain(third, { previousHash: rewritten.hash })])).toBe(
      'report_conflict',
    );
    expect(await world.metric('holdfast_control_reports_total{outcome="report_conflict"}')).toBe(4);
    expect((await host.reported([third])).ackedSeq).toBe(3);
  });

  test('of a journal that went back and was written anew are refused, counted, and audited once', async () => {
    for (let count = 0; count < 10; count += 1) host.record('policy_activated', { count });
    const journal = host.journal();
    expect((await host.reported(journal)).ackedSeq).toBe(10);
    const other: JournalEvent[] = journal.slice(0, 5);
    for (const event of journal.slice(5, 8)) {
      other.push(rechain(event, { body: { other: true }, previousHash: other.at(-1)!.hash }));
    }
    for (const report of [other.slice(5), other, other.slice(5)]) {
      const answer = await host.report(report);
      expect([answer.status, answer.json['code']]).toEqual([409, 'report_conflict']);
      expect(answer.json['detail']).toMatch(/event 6 has another hash/);
    }
    expect(await world.metric('holdfast_control_reports_total{outcome="report_conflict"}')).toBe(3);
    const { items } = (await world.get('/v1/audit')).json as { items: Record<string, unknown>[] };
    expect(items.filter(({ action }) => action === 'report.conflict')).toMatchObject([
      { actor: `host:${host.id}`, detail: { hostEpoch: 1, seq: 6, ackedSeq: 10 } },
    ]);
    expect((await host.reported(journal.slice(5, 8))).ackedSeq).toBe(10);
  });

  test('survive a restart of control', async () => {
    admit(1);
    await host.reported(host.journal());
    await world.restart();
    expect((await host.sync()).ackedSeq).toBe(1);
    change(1, 'cancelled');
    expect((await host.reported(host.journal(2))).ackedSeq).toBe(2);
  });

  test('with a poison event go on behind it; it is stored, counted and listed', async () => {
    admit(1);
    host.record('admitted', { nonsense: true }, operationIdOf(2));
    host.record('teleported', { to: 'mars' }, operationIdOf(1));
    change(3, 'succeeded');
    host.record(
      'admitted',
      reportedAdmission(host.id, 4, { hostId: 'host_other' }),
      operationIdOf(4),
    );
    host.record('succeeded', { state: 'succeeded', reason: null, attempt: 1 });
    change(1, 'succeeded');
    expect((await host.reported(host.journal())).ackedSeq).toBe(7);
    expect(await shown('/v1/operations')).toMatchObject([
      { operationId: operationIdOf(1), state: 'succeeded' },
    ]);
    const unreadable = await shown('/v1/unreadable-events');
    expect(unreadable.map(({ seq }) => seq)).toEqual([6, 5, 4, 3, 2]);
    expect(unreadable.map(({ problem }) => problem)).toEqual([
      'succeeded names no operation',
      expect.stringMatching(/of host host_other/),
      expect.stringMatching(/never reported/),
      'kind teleported is not known to this version',
      expect.stringMatching(/^body \//),
    ]);
    expect(await world.metric('holdfast_control_report_events_total{readable="no"}')).toBe(5);
  });

  test.each([1e17, 1e300, -1, 1.5])(
    'an event at %d is listed as unreadable, and the stream goes on',
    async (atMs) => {
      const poison = rechain(host.record('policy_activated', {}), { atMs });
      const content = { ...rechain(poison, { kind: 'outage_closed' }), previousHash: poison.hash };
      const second = rechain(content, { seq: 2 });
      const third = rechain({ ...second, previousHash: second.hash }, { seq: 3, atMs: 7 });
      expect((await host.reported([poison, second])).ackedSeq).toBe(2);
      expect((await host.reported([third])).ackedSeq).toBe(3);
      const listed = await shown('/v1/unreadable-events');
      expect(listed.map(({ seq }) => seq)).toEqual([3, 2, 1]);
      expect(listed[2]?.['problem']).toBe(`atMs ${atMs} is no time`);
    },
  );

  test('an admission with a number over the safe ones is unreadable, and the stream goes on', async () => {
    const over = { stalenessMs: 1e17 };
    host.record('admitted', reportedAdmission(host.id, 1, over), operationIdOf(1));
    admit(2);
    expect((await host.reported(host.journal())).ackedSeq).toBe(2);
    expect(await shown('/v1/unreadable-events')).toMatchObject([{ seq: 1 }]);
    expect(await shown('/v1/operations')).toMatchObject([{ operationId: operationIdOf(2) }]);
  });

  test('refusals and outages are listed with their host', async () => {
    const outage = {
      outageId: 'out_1',
      fromMs: 5,
      toMs: null,
      cause: 'refused',
      detail: 'x',
      policyRevision: 1,
      stalenessMs: 3,
    };
    host.record('outage_opened', { outage });
    host.record('refused', {
      refusal: reportedRefusal({ outageId: 'out_1' }),
    });
    host.record('outage_closed', { outage: { ...outage, toMs: 9 } });
    host.record('policy_activated', { policyRevision: 2 });
    await host.reported(host.journal());
    expect(await shown('/v1/outages?seenBy=host')).toEqual([
      { ...outage, toMs: 9, seenBy: 'host', hostId: host.id, hostName: host.name },
    ]);
    expect(await shown('/v1/refusals')).toMatchObject([
      { refusalId: 'ref_1', hostId: host.id, reason: 'denied' },
    ]);
  });

  test('of a host enrolled anew begin again; a journal that does not is a loss that is said', async () => {
    admit(1);
    await host.reported(host.journal());
    const token = await world.joinToken(host.name);
    const successor = await SigningHost.create(world, host.name);
    await successor.enrol(token);
    expect((await successor.sync()).ackedSeq).toBe(0);
    for (let count = 0; count < 3; count += 1) successor.record('policy_activated', {});
    expect((await successor.reported(successor.journal(3))).ackedSeq).toBe(3);
    const { items } = (await world.get('/v1/audit')).json as { items: Record<string, unknown>[] };
    expect(items[0]).toMatchObject({
      action: 'report.lost',
      detail: { fromSeq: 1, toSeq: 2, hostEpoch: 2 },
    });
    expect((await host.report(host.journal())).json['code']).toBe('host_epoch_stale');
  });
});

describe('I12: reports in lines', () => {
  const lines = (events: readonly JournalEvent[]): string =>
    writeReportLines({
      previousHash: events[0]?.previousHash ?? '',
      entries: events.map(({ body, previousHash: _before, ...entry }) => ({
        ...entry,
        bodyText: JSON.stringify(body),
      })),
    });
  const reported = async (text: string) =>
    host.open(await host.reportLines(text), STATEMENT_TYPES.report, ReportAnswerSchema);

  test('are taken as those in JSON are, and each knows the other again', async () => {
    admit(1);
    change(1, 'succeeded');
    expect((await reported(lines(host.journal()))).ackedSeq).toBe(2);
    admit(2);
    expect((await host.reported(host.journal())).ackedSeq).toBe(3);
    expect((await reported(lines(host.journal()))).ackedSeq).toBe(3);
    const read = (await world.get(`/v1/operations/${operationIdOf(1)}`)).json;
    expect(read['events']).toEqual(host.journal().slice(0, 2));
  });

  test('a body that nobody can read is parked by itself, as it came', async () => {
    const deep = `${'{"a":'.repeat(100)}1${'}'.repeat(100)}`;
    const bodies = ['not JSON', deep, '{"n":1e400}', JSON.stringify(reportedAdmission(host.id, 4))];
    let previousHash = '0'.repeat(64);
    const entries = bodies.map((bodyText, at) => {
      const content = {
        seq: at + 1,
        atMs: 1,
        kind: 'admitted',
        operationId: operationIdOf(at + 1),
        outageId: null,
        bodyText,
      };
      previousHash = entryHash(previousHash, content);
      return { ...content, hash: previousHash };
    });
    const text = writeReportLines({ previousHash: '0'.repeat(64), entries });
    expect((await reported(text)).ackedSeq).toBe(4);
    const unreadable = await shown('/v1/unreadable-events');
    expect(unreadable.map(({ seq, problem }) => [seq, problem])).toEqual([
      [3, expect.stringMatching(/beyond the range/)],
      [2, expect.stringMatching(/nested deeper than 72/)],
      [1, 'the body is not JSON'],
    ]);
    expect(await shown('/v1/operations')).toMatchObject([{ operationId: operationIdOf(4) }]);
  });

  test('attributes as deep as an app may send them are no poison', async () => {
    // A request may be nested 64 levels; its attributes are one below it.
    const attributes = JSON.parse(`${'{"a":'.repeat(63)}1${'}'.repeat(63)}`) as never;
    host.record('admitted', reportedAdmission(host.id, 1, { attributes }), operationIdOf(1));
    host.record('admitted', reportedAdmission(host.id, 2, { attributes }), operationIdOf(2));
    expect((await reported(lines(host.journal().slice(0, 1)))).ackedSeq).toBe(1);
    expect((await host.reported(host.journal())).ackedSeq).toBe(2);
    expect(await shown('/v1/unreadable-events')).toEqual([]);
  });

  test('that cannot be chained are refused with where, and nowhere else are lines taken', async () => {
    admit(1);
    const refused = await host.reportLines(lines(host.journal()).replace('[1,', '['));
    expect([refused.status, refused.json['code']]).toEqual([400, 'invalid_request']);
    expect(refused.json['detail']).toMatch(/line 2/);
    const forged = await host.reportLines(lines(host.journal()).replace('billing', 'bullion'));
    expect(forged.json['code']).toBe('report_conflict');
    const elsewhere = await host.request('POST', '/v1/sync', undefined, {
      body: 'x',
      headers: { 'content-type': 'application/x-ndjson' },
    });
    expect(elsewhere.json['code']).toBe('unsupported_media_type');
  });
});

test('I12: reports beyond those that are taken in at once are told when to come, and none is lost', async () => {
  const hosts = await Promise.all(
    Array.from({ length: AT_ONCE_MAX }, (_, at) => world.enrolHost(`crowd-${at}`)),
  );
  const late = await world.enrolHost('late');
  for (const one of [...hosts, late]) one.record('policy_activated', { policyRevision: 1 });
  // Each says that it reports, and sends nothing yet.
  const slow = await Promise.all(hosts.map((one) => reportBegun(one)));
  let turnedAway = await late.report(late.journal());
  while (turnedAway.status === 200) turnedAway = await late.report(late.journal());
  expect([turnedAway.status, turnedAway.json['code']]).toEqual([503, 'overloaded']);
  expect(turnedAway.json['retry_after_ms']).toBeGreaterThan(0);
  expect(turnedAway.headers.get('retry-after')).toMatch(/^[0-9]+$/);
  for (const finish of slow) expect(await finish()).toBe(200);
  // Each place that was taken is free again.
  for (const one of [...hosts, late]) expect((await one.reported(one.journal())).ackedSeq).toBe(1);
});

/** Its head is on the way; the rest follows when it is asked for. */
async function reportBegun(one: SigningHost): Promise<() => Promise<number>> {
  const text = JSON.stringify({ events: one.journal() });
  let token = '';
  await one
    .request('POST', '/v1/reports', undefined, {
      claims: { bodySha256: sha256Hex(text) },
      token: (signed) => (token = signed),
      signal: AbortSignal.abort(),
    })
    .catch(() => undefined);
  const open = request(`${world.address}/v1/reports`, {
    method: 'POST',
    headers: {
      authorization: `Holdfast-Host ${token}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    },
  });
  open.flushHeaders();
  return async () => {
    open.end(text);
    const [answer] = (await once(open, 'response')) as [IncomingMessage];
    answer.resume();
    return answer.statusCode ?? 0;
  };
}
