import { recoveryEndLine, recoveryHeadLine, recoveryPageLines } from '../core/recovery-lines.ts';
import { RECOVERY_LISTS } from '../wire/recovery-api.ts';
import type { SidecarClient } from './sidecar-client.ts';

const PAGE_ITEMS = 500;

/**
 * The whole recovery view as NDJSON, as `GET /v1/recovery:export` gives it, read page by page: no
 * more than a page is held, and no request is long. All of it is of the outage that the first
 * answer named, whatever happens meanwhile.
 */
export async function* exportRecovery(
  sidecar: Pick<SidecarClient, 'recovery' | 'recoveryPage'>,
  options: { readonly outageId?: string } = {},
): AsyncGenerator<string> {
  const recovery = await sidecar.recovery(options);
  const outageId = recovery.outage?.outageId;
  yield recoveryHeadLine(recovery);
  let lines = 1;
  for (const list of RECOVERY_LISTS) {
    let cursor: string | null = null;
    do {
      const page = await sidecar.recoveryPage(list, {
        limit: PAGE_ITEMS,
        ...(outageId === undefined ? {} : { outageId }),
        ...(cursor === null ? {} : { cursor }),
      });
      if (page.items.length > 0) yield recoveryPageLines(page);
      lines += page.items.length;
      cursor = page.nextCursor;
    } while (cursor !== null);
  }
  yield recoveryEndLine(lines);
}
