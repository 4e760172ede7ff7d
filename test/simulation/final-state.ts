/** What the disks hold when all is over: read from the files, while no daemon runs (H4). */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openSqliteControlStore } from '../../control/store/sqlite-control-store.ts';
import type { ControlStore, Page, PageRequest } from '../../control/store/control-store.ts';
import { journalFiles, type JournalFiles } from '../../dataplane/journal/journal-files.ts';
import { JournalReader } from '../../dataplane/journal/journal-reader.ts';
import { verifyJournal } from '../../dataplane/journal/start-verification.ts';
import { openDatabase } from '../../shared/platform/sqlite.ts';
import type { JournalEvent, Outage, Refusal } from '../../shared/wire/operation.ts';
import type { Register } from '../../shared/wire/register-api.ts';
import type { FinalControl, FinalJournal } from './history.ts';

const PAGE = 500;
const IN_FORCE_MAX = 10_000;

type Of = { readonly host: string; readonly hostId: string };

/** That in service, and those that were moved aside in the life of this directory. */
export function finalJournals(dataDir: string, of: Of): FinalJournal[] {
  const files = journalFiles(join(dataDir, 'journal'));
  const aside = existsSync(dataDir)
    ? readdirSync(dataDir)
        .filter((name) => name.startsWith('quarantine-'))
        .toSorted()
    : [];
  const old = aside
    .map((name) => join(dataDir, name))
    .filter((directory) => existsSync(join(directory, 'journal.db')))
    .map((directory) => readGivenUp(journalFiles(directory), of));
  return [...old, readInService(files, of)].filter((one) => one !== null);
}

function readInService(files: JournalFiles, of: Of): FinalJournal | null {
  if (!existsSync(files.database)) return null;
  return readJournal(files, { ...of, isGivenUp: false, damage: damageOf(files) });
}

/** What only has lost its end is whole as far as it goes; of anything else nothing is believed. */
function readGivenUp(files: JournalFiles, of: Of): FinalJournal {
  const verdict = verifyJournal(files, { entriesMax: Number.MAX_SAFE_INTEGER });
  const entries = isBelieved(verdict.kind) ? entriesIn(files) : null;
  if (entries !== null && entries > 0)
    return readJournal(files, { ...of, isGivenUp: true, damage: null });
  const evidence = 'evidence' in verdict ? verdict.evidence.join('; ') : 'no entries';
  return {
    ...of,
    isGivenUp: true,
    damage: entries === 0 ? null : `${verdict.kind}: ${evidence}`,
    head: { seq: 0, hash: '' },
    ackedSeq: 0,
    prunedSeq: 0,
    events: [],
    operations: [],
    refusals: [],
    fences: {},
    registers: [],
    outages: [],
  };
}

function isBelieved(kind: string): boolean {
  return kind !== 'unreadable' && kind !== 'broken_chain';
}

/** `null`: not even their table is left, where its log was cut off early; others may be missing too. */
function entriesIn(files: JournalFiles): number | null {
  const database = openDatabase(files.database, { readOnly: true });
  try {
    return Number(database.prepare('SELECT count(*) AS entries FROM events').get()?.['entries']);
  } catch {
    return null;
  } finally {
    database.close();
  }
}

function readJournal(
  files: JournalFiles,
  of: Of & Pick<FinalJournal, 'isGivenUp' | 'damage'>,
): FinalJournal {
  const reader = new JournalReader(files.database);
  try {
    const events = allEvents(reader);
    const operations = reader
      .operations({ app: null, state: null, beforeSeq: Number.MAX_SAFE_INTEGER, limit: 1_000_000 })
      .map(({ operation }) => operation)
      .toReversed();
    return {
      ...of,
      head: reader.newest() ?? { seq: 0, hash: '' },
      ackedSeq: reader.acknowledged().seq,
      prunedSeq: reader.pruned().seq,
      events,
      operations,
      refusals: events
        .filter(({ kind }) => kind === 'refused')
        .map(({ body }) => body['refusal'] as Refusal),
      ...tablesOf(files),
      outages: outagesOf(events),
    };
  } finally {
    reader.close();
  }
}

function damageOf(files: JournalFiles): string | null {
  const verdict = verifyJournal(files, { entriesMax: Number.MAX_SAFE_INTEGER });
  if (verdict.kind === 'ok' || verdict.kind === 'fresh') return null;
  return `${verdict.kind}: ${verdict.evidence.join('; ')}`;
}

function allEvents(reader: JournalReader): JournalEvent[] {
  const events: JournalEvent[] = [];
  for (let afterSeq = 0; ;) {
    const page = reader.keptAndLaterEvents(afterSeq, PAGE);
    const last = page.at(-1);
    if (last === undefined) return events;
    events.push(...page);
    afterSeq = last.seq;
  }
}

function outagesOf(events: readonly JournalEvent[]): Outage[] {
  const newest = new Map<string, Outage>();
  for (const { kind, body } of events)
    if (kind.startsWith('outage_')) {
      const outage = body['outage'] as Outage;
      newest.set(outage.outageId, outage);
    }
  return [...newest.values()];
}

function tablesOf(files: JournalFiles): Pick<FinalJournal, 'fences' | 'registers'> {
  const database = openDatabase(files.database, { readOnly: true });
  try {
    const fences = database.prepare('SELECT resource, epoch FROM fences ORDER BY resource').all();
    const registers = database.prepare('SELECT * FROM registers ORDER BY 1, 2').all();
    return {
      fences: Object.fromEntries(
        fences.map((row) => [String(row['resource']), Number(row['epoch'])]),
      ),
      registers: registers.map((row) => ({ ...row })) as unknown as Register[],
    };
  } finally {
    database.close();
  }
}

export async function finalControl(dataDir: string): Promise<FinalControl> {
  const path = join(dataDir, 'control.db');
  const store = openSqliteControlStore(path);
  const database = openDatabase(path, { readOnly: true });
  try {
    const { controlId, run, highestEpoch } = await store.state();
    const hosts = await store.hosts.all();
    const events: Record<string, FinalControl['events'][string][number][]> = {};
    for (const { hostId } of hosts) {
      const rows = database
        .prepare(
          'SELECT host_epoch, seq, kind, hash, operation_id FROM events WHERE host_id = ? ORDER BY host_epoch, seq',
        )
        .all(hostId);
      events[hostId] = rows.map((row) => ({
        hostEpoch: Number(row['host_epoch']),
        seq: Number(row['seq']),
        kind: String(row['kind']),
        hash: String(row['hash']),
        operationId: row['operation_id'] === null ? null : String(row['operation_id']),
      }));
    }
    const inForce: Record<string, FinalControl['inForce'][string]> = {};
    for (const { hostId } of hosts)
      inForce[hostId] = await store.timeline.inForce(hostId, IN_FORCE_MAX);
    return {
      controlId: controlId ?? '',
      run,
      highestEpoch,
      leases: await store.leases.all(),
      hosts: hosts.map(
        ({ kid: _kid, ...host }) => ({ ...host, ackedSeq: host.acked.seq }) as never,
      ),
      inForce,
      notices: await store.timeline.notices(),
      revisions: (await all((page) => store.policy.list(page)))
        .map(({ policyRevision, policyDigest }) => ({ policyRevision, policyDigest }))
        .toReversed(),
      operations: (await all((page) =>
        store.reports.listOperations({ hostId: null, state: null }, page),
      )) as unknown as FinalControl['operations'],
      refusals: await all((page) => store.reports.listRefusals(page)),
      unreadable: await all((page) => store.reports.listUnreadable(page)),
      outages: await outagesAt(store),
      divergences: await all((page) =>
        store.divergences.list({ hostId: null, outageId: null, state: null }, page),
      ),
      approvals: await all((page) => store.approvals.list({ state: null, nowMs: 0 }, page)),
      audit: (await all((page) => store.audit.list(page))).toReversed(),
      events,
    };
  } finally {
    database.close();
    await store.close();
  }
}

async function outagesAt(store: ControlStore): Promise<FinalControl['outages']> {
  return (await all((page) =>
    store.outages.list({ hostId: null, isOpen: null, seenBy: 'host' }, page),
  )) as unknown as FinalControl['outages'];
}

async function all<T>(read: (page: PageRequest) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  for (let cursor: string | null = null; ;) {
    const page: Page<T> = await read({ limit: PAGE, cursor });
    items.push(...page.items);
    if (page.nextCursor === null) return items;
    cursor = page.nextCursor;
  }
}
