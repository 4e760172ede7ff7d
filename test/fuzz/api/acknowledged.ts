/**
 * What a daemon acknowledged while it was fuzzed, and whether it is there after a kill: the answers to
 * broken requests must not have cost anything that was promised to the good ones.
 */
import { DatabaseSync } from 'node:sqlite';
import type { ControlClient } from '../../../shared/client/index.ts';
import { EMPTY_CHAIN } from '../../faults/check/check-journal.ts';
import { readJournal } from '../../faults/check/read-journal.ts';
import type { WireAnswer } from './wire-client.ts';

const PAGE = 500;
const OPERATION_IDS =
  'SELECT operation_id FROM operations JOIN events ON events.seq = operations.seq';

export class Acknowledged {
  readonly operations = new Set<string>();
  readonly revisions = new Set<number>();
  readonly #operators = new Set<string>();
  readonly #groups = new Set<string>();
  /** Whose end somebody has asked for. */
  readonly #removed = new Set<string>();

  note(asked: { method: string; target: string }, { status, body }: WireAnswer): void {
    const path = asked.target.split('?')[0] ?? '';
    if (asked.method === 'DELETE') this.#removed.add(lastPart(path));
    if (status < 200 || status > 202 || asked.method === 'GET') return;
    if (path === '/v1/operations' || path === '/v1/operations:batch')
      for (const [, id = ''] of body.matchAll(/"operationId":"([^"]+)"/g)) this.operations.add(id);
    if (asked.target.includes('dryRun')) return;
    if (/^\/v1\/policy(:rollback)?$/.test(path) && status !== 202) {
      const revision = /"policyRevision":(\d+)/.exec(body)?.[1];
      if (revision !== undefined && status === 201) this.revisions.add(Number(revision));
    }
    if (path === '/v1/operators' && status === 201) this.#operators.add(nameIn(body));
    if (path.startsWith('/v1/placement/groups/')) this.#groups.add(nameIn(body));
  }

  /** Of the sidecar; it must not run. */
  lostOperations(journalPath: string): string[] {
    const lost: string[] = [];
    const database = new DatabaseSync(journalPath, { readOnly: true, timeout: 5_000 });
    try {
      const rows = database.prepare(OPERATION_IDS).iterate();
      const kept = new Set(Array.from(rows, (row) => String(row['operation_id'])));
      for (const id of this.operations) if (!kept.has(id)) lost.push(id);
    } finally {
      database.close();
    }
    const { lies } = readJournal(journalPath, EMPTY_CHAIN);
    // An effect that failed may be begun again, and here many fail.
    const found = lies.filter(({ detail }) => detail !== 'begun twice');
    return [...lost, ...found.map(({ kind, about, detail }) => `${kind}: ${about}: ${detail}`)];
  }

  /** Of control. */
  async lostDecisions(control: ControlClient): Promise<string[]> {
    const lost: string[] = [];
    const revisions = new Set<number>();
    for (let cursor: string | undefined; ;) {
      const query = cursor === undefined ? { limit: PAGE } : { limit: PAGE, cursor };
      const page = await control.policyRevisions(query);
      for (const { policyRevision } of page.items) revisions.add(policyRevision);
      if (page.nextCursor === null) break;
      cursor = page.nextCursor;
    }
    for (const revision of this.revisions)
      if (!revisions.has(revision)) lost.push(`revision ${revision}`);
    const names = new Set((await control.operators()).map(({ name }) => name));
    for (const name of this.#operators)
      if (!names.has(name) && !this.#removed.has(name)) lost.push(`operator ${name}`);
    for (const name of this.#groups)
      if (!this.#removed.has(name) && !(await isGroup(control, name))) lost.push(`group ${name}`);
    return lost;
  }

  get decisions(): number {
    return this.revisions.size + this.#operators.size + this.#groups.size;
  }
}

async function isGroup(control: ControlClient, name: string): Promise<boolean> {
  try {
    await control.placement.group(name);
    return true;
  } catch {
    return false;
  }
}

function lastPart(path: string): string {
  try {
    return decodeURIComponent(path.split('/').at(-1) ?? '');
  } catch {
    return path;
  }
}

function nameIn(body: string): string {
  return (JSON.parse(body) as { name?: string }).name ?? '';
}
