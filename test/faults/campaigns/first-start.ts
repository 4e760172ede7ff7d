/** A start on an empty directory, where the journal is made: it is made whole, or the start is refused. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Breach, CampaignOptions } from '../campaign.ts';
import {
  injectedCalls,
  isOfJournal,
  straceCommand,
  type Injection,
} from '../inject/system-calls.ts';
import { SidecarProcess } from '../sidecar/sidecar-process.ts';
import type { Site } from '../sidecar/site.ts';
import { startText } from '../subject.ts';

const START_REFUSED = 3;
const SERVE_MS = 300;
const END_BOUND_MS = 12_000;
/** Well formed; there is no control that would be asked about it. */
const JOIN_TOKEN = `hfj1.join_0123456789abcdefghjkmnpqrs.${'s'.repeat(43)}.${'t'.repeat(43)}`;
/** Of the header of an SQLite file, where the versions are that write and read it; 2 is WAL. */
const VERSIONS_OFFSET = 18;
const WAL_VERSION = 2;

/** `served`: it was hit where it can go on, or once it served already. */
export type FirstStart = {
  readonly outcome: 'refused' | 'served' | 'not hit';
  readonly breaches: readonly Breach[];
};

export async function checkFirstStart(
  site: Site,
  { undo }: CampaignOptions,
  parts: { readonly name: string; readonly injection: Injection },
): Promise<FirstStart> {
  const dataDir = join(site.root, parts.name);
  const { traceFile } = parts.injection;
  mkdirSync(dataDir);
  const joinTokenFile = join(site.root, 'join.token');
  writeFileSync(joinTokenFile, `${JOIN_TOKEN}\n`, { mode: 0o600 });
  const breaches: Breach[] = [];
  const breach = (detail: string): void => void breaches.push({ what: parts.name, detail });
  const under = straceCommand(parts.injection);
  const sidecar = new SidecarProcess(site, undo, { dataDir, under, joinTokenFile });
  const isServing = await sidecar.isLive();
  const isHit = (): boolean => injectedCalls(traceFile).some(isOfJournal);
  let ended = await sidecar.untilEnded(isServing ? SERVE_MS : END_BOUND_MS);
  if (ended === null && isHit()) ended = await sidecar.untilEnded(END_BOUND_MS);
  if (ended !== null && !isServing) {
    if (ended.code !== START_REFUSED || ended.said === '')
      breach(`not refused with a message and exit code 3: ${startText({ kind: 'ended', ended })}`);
  } else if (ended === null && isHit()) {
    breach('it serves although the journal could not be made durable');
  }
  if (isServing && !isWal(join(dataDir, 'journal/journal.db')))
    breach('it serves in another journal mode than WAL');
  await sidecar.close();
  const wasHit = injectedCalls(traceFile).length > 0;
  const again = new SidecarProcess(site, undo, { dataDir, joinTokenFile });
  if (!(await again.isLive())) breach(`the next start: ${(await again.ended).said}`);
  await again.close();
  rmSync(dataDir, { recursive: true });
  rmSync(traceFile, { force: true });
  return { outcome: wasHit ? (isServing ? 'served' : 'refused') : 'not hit', breaches };
}

function isWal(path: string): boolean {
  if (!existsSync(path)) return false;
  const file = openSync(path, 'r');
  try {
    const versions = Buffer.alloc(2);
    readSync(file, versions, 0, 2, VERSIONS_OFFSET);
    return versions[0] === WAL_VERSION && versions[1] === WAL_VERSION;
  } finally {
    closeSync(file);
  }
}
