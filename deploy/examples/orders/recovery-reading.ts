/** Reads what `recovery-check.ts` compares: all of the lists, and all that control knows of them. */
import type {
  ControlClient,
  Operation,
  RecoveryList,
  Refusal,
  SidecarClient,
} from '../../../shared/client/index.ts';
import type { ReportedOperationDetail } from '../../../shared/wire/control-api.ts';
import type { Known, Told } from './recovery-check.ts';

const AT_ONCE = 16;
const SETTLED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

export async function readTold(sidecar: SidecarClient, outageId: string): Promise<Told> {
  const { outage, tally } = await sidecar.recovery({ outageId });
  if (outage === null) throw new Error(`the sidecar does not know outage ${outageId}`);
  const list = <T extends Operation | Refusal>(name: RecoveryList): Promise<T[]> =>
    readAll(
      async (cursor) =>
        (await sidecar.recoveryPage(name, { outageId, limit: 500, ...cursor })) as {
          items: T[];
          nextCursor: string | null;
        },
    );
  return {
    outage,
    tally,
    acceptedBefore: await list<Operation>('accepted_before'),
    continued: await list<Operation>('continued'),
    stopped: await list<Operation>('stopped'),
    refused: await list<Refusal>('refused'),
    needsReconciliation: await list<Operation>('needs_reconciliation'),
  };
}

/** With the entries of each operation that is unsettled, or had one after `afterSeq`. */
export async function readKnown(
  control: ControlClient,
  { afterSeq, ledger }: { readonly afterSeq: number; readonly ledger: Known['ledger'] },
): Promise<Known> {
  const page = { limit: 500 };
  const reported = await readAll((cursor) => control.operations({ ...page, ...cursor }));
  const waiting = reported.filter(
    ({ lastSeq, state }) => lastSeq > afterSeq || !SETTLED.has(state),
  );
  const operations: ReportedOperationDetail[] = [];
  const read = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop())
      operations.push(await control.operation(next.operationId));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, read));
  return {
    outages: await readAll((cursor) => control.outages({ ...page, ...cursor })),
    operations,
    refusals: await readAll((cursor) => control.refusals({ ...page, ...cursor })),
    revisions: await readAll((cursor) => control.policyRevisions({ ...page, ...cursor })),
    ledger,
  };
}

export async function readAll<T>(
  page: (at: { cursor?: string }) => Promise<{ items: readonly T[]; nextCursor: string | null }>,
): Promise<T[]> {
  const all: T[] = [];
  let cursor: string | null = null;
  do {
    const { items, nextCursor }: { items: readonly T[]; nextCursor: string | null } = await page(
      cursor === null ? {} : { cursor },
    );
    all.push(...items);
    cursor = nextCursor;
  } while (cursor !== null);
  return all;
}
