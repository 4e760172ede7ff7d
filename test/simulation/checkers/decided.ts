/** An accepted operation together with the calls that asked for it, and the moment it was decided. */
import type { Instant } from '../../../shared/core/time.ts';
import type { Operation } from '../../../shared/wire/operation.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import type { Call } from '../history-view.ts';
import { mayHaveHappened } from '../history-view.ts';
import type { JournalLife } from './journal-life.ts';
import type { World } from './world.ts';

export type Decided = {
  readonly life: JournalLife;
  readonly operation: StoredOperation;
  /** By the clocks of its host. */
  readonly at: Instant;
  /** That may have asked for it; none where it compensates another. */
  readonly calls: readonly Call<'admit'>[];
  /** The first that was answered with it. */
  readonly answered: (Call<'admit'> & { readonly ended: NonNullable<Call['ended']> }) | null;
};

const known = new WeakMap<World, readonly Decided[]>();

/** Every operation in every journal, in the order of their admission on each host. */
export function decidedIn(world: World): readonly Decided[] {
  const before = known.get(world);
  if (before !== undefined) return before;
  const admits = world.calls.filter(
    (call): call is Call<'admit'> => call.request.kind === 'admit' && mayHaveHappened(call),
  );
  const byKey = Map.groupBy(admits, ({ to, client, request }) => `${to} ${client} ${request.key}`);
  const decided = world.lives.flatMap((life) =>
    life.journal.operations.map((operation): Decided => {
      const { app, idempotencyKey } = operation;
      const calls = byKey.get(`${life.host} ${app} ${idempotencyKey}`) ?? [];
      const answered = answeredOf(calls, operation.operationId);
      return { life, operation, at: decidedAt(operation), calls, answered };
    }),
  );
  known.set(world, decided);
  return decided;
}

/** The deadline was counted from then, by both clocks. */
function decidedAt({ admittedAtMs, deadlineAtMs, deadlineBoot }: StoredOperation): Instant {
  const { bootId, bootMs } = deadlineBoot;
  return { wallMs: admittedAtMs, bootMs: bootMs - (deadlineAtMs - admittedAtMs), bootId };
}

/** After a journal was lost its keys name other operations. */
function answeredOf(calls: readonly Call<'admit'>[], operationId: string): Decided['answered'] {
  for (const call of calls) {
    const { ended } = call;
    if (ended?.end.kind !== 'ok') continue;
    const told = ended.end.body as Pick<Operation, 'operationId'>;
    if (told.operationId === operationId) return { ...call, ended };
  }
  return null;
}

export function seqsOf({ calls }: Decided): number[] {
  return calls.flatMap(({ sent, ended }) => (ended === null ? [sent.seq] : [sent.seq, ended.seq]));
}

export function nameOf({ life, operation }: Decided): string {
  return `${operation.operationId} (${operation.action}) of ${life.host}`;
}
