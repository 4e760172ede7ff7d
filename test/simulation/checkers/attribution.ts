/**
 * Whose a record is (I3).
 *
 * B7  A record says what was asked, and by whom: the app, the principal, the action, the resource and
 *     the attributes of a call that has its payload.
 * B8  What one app asked for is shown to no other, and done by no other: but to operators.
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import { digestOf } from '../../../shared/platform/digest.ts';
import type { AdmitRequest } from '../../../shared/wire/operation.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import type { CallBodies } from '../history.ts';
import type { Call } from '../history-view.ts';
import { decidedIn, nameOf, seqsOf } from './decided.ts';
import type { Findings } from './findings.ts';
import type { World } from './world.ts';

/** Clients that are operators of the host, and may look at everything. */
const OPERATORS: ReadonlySet<string> = new Set(['ops']);

export function checkAttribution(world: World, findings: Findings): void {
  for (const decided of decidedIn(world)) {
    const { operation, calls } = decided;
    const asked = calls.filter(({ request }) => digestOf(request.body) === operation.fingerprint);
    if (asked.length === 0) continue;
    const recorded = wordsOfRecord(operation);
    findings.expect(
      asked.some(({ request }) => wordsOfRequest(request.body) === recorded),
      () =>
        `${nameOf(decided)} is recorded as ${recorded}, and what was asked was ${asked.map(({ request }) => wordsOfRequest(request.body)).join(' or ')}`,
      () => seqsOf(decided),
    );
  }
  checkApps(world, findings);
}

function wordsOfRecord({ principal, action, resource, attributes }: StoredOperation): string {
  return canonicalJson({ principal, action, resource, attributes: attributes ?? {} });
}

function wordsOfRequest({ principal, action, resource, attributes = {} }: AdmitRequest): string {
  const { id = '', attributes: of = {} } = resource ?? {};
  return canonicalJson({ principal, action, resource: { id, attributes: of }, attributes });
}

/** B8. */
function checkApps({ lives, calls }: World, findings: Findings): void {
  const appOf = new Map(
    lives.flatMap(({ operations }) =>
      [...operations.values()].map((one) => [one.operationId, one.app]),
    ),
  );
  for (const call of calls) {
    const { client, request, to, sent, ended } = call;
    if (ended?.end.kind !== 'ok' || OPERATORS.has(client)) continue;
    for (const operationId of toldOf(call)) {
      const app = appOf.get(operationId);
      findings.expect(
        app === undefined || app === client,
        () =>
          `${to} answered ${request.kind} of ${client} about ${operationId}, which is of ${app}`,
        () => [sent.seq, ended.seq],
      );
    }
  }
}

function toldOf({ request, ended }: Call): readonly string[] {
  if (ended?.end.kind !== 'ok') return [];
  if (request.kind === 'claim') {
    const { items } = ended.end.body as CallBodies['claim'];
    return items.map(({ operation }) => operation.operationId);
  }
  if (request.kind === 'admit') return [(ended.end.body as CallBodies['admit']).operationId];
  return 'operationId' in request ? [request.operationId] : [];
}
