/** Requests for approvals in one report: what is to be written together with it. */
import type { ApprovalRequest } from '../../shared/wire/approval.ts';
import { foldAdmission, foldChange, type Source } from '../core/approval-fold.ts';
import type { ReadEvent } from '../core/operation-projection.ts';
import type { ApprovalStore, ApprovalWrite } from '../store/approval-store.ts';

/** Only what says something of an approval: most of what hosts report does not. */
export function saysOfApproval(event: ReadEvent): boolean {
  if (event.type === 'admitted') return event.operation.approval !== undefined;
  return event.type === 'changed' && event.change.approval !== undefined;
}

/** In the order of the events; each write names the version that it was decided on. */
export async function projectApprovals(
  store: Pick<ApprovalStore, 'ofOperations'>,
  events: readonly ReadEvent[],
  source: Source,
): Promise<readonly ApprovalWrite[]> {
  if (events.length === 0) return [];
  const ids = new Set(events.flatMap((event) => operationOf(event) ?? []));
  const held = await store.ofOperations([...ids]);
  const versions = new Map(held.map(({ request, version }) => [request.requestId, version]));
  const current = new Map(
    held.flatMap(({ request }) =>
      request.state === 'superseded' ? [] : [[request.operationId, request]],
    ),
  );
  const changed = new Map<string, ApprovalRequest>();
  for (const event of events) {
    for (const request of fold(current, event, source)) {
      changed.set(request.requestId, request);
      current.set(request.operationId, request);
    }
  }
  return [...changed.values()].map((request) => ({
    request,
    replacesVersion: versions.get(request.requestId) ?? null,
  }));
}

function fold(
  current: ReadonlyMap<string, ApprovalRequest>,
  event: ReadEvent,
  source: Source,
): readonly ApprovalRequest[] {
  const known = current.get(operationOf(event) ?? '');
  // Of another host: its operation is not taken over here either.
  if (known !== undefined && known.hostId !== source.hostId) return [];
  if (event.type === 'admitted') {
    if (event.operation.hostId !== source.hostId) return [];
    return foldAdmission(known, event.operation, source);
  }
  if (event.type !== 'changed' || event.change.approval === undefined || known === undefined)
    return [];
  return foldChange(known, { kind: event.kind, approval: event.change.approval }, source);
}

function operationOf(event: ReadEvent): string | null {
  if (event.type === 'admitted') return event.operation.operationId;
  return event.type === 'changed' ? event.operationId : null;
}
