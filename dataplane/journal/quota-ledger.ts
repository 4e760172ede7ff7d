/**
 * The use of quotas as the journal keeps it: one row for each, written in the transaction of the
 * admission that it counts, so that no kill forgets one (I1).
 *
 * U1  The table is apart from entries and operations: no retention forgets an open window.
 * U2  A row that is not the one that was written counts as used up, for one length from when it is
 *     found: the pages of SQLite carry no checksum.
 * U3  A row goes when nothing can rest on it any more: a whole length after its end.
 */
import type { LimitTerms } from '../../shared/core/policy.ts';
import type { QuotaWindow } from '../../shared/core/quota-window.ts';
import type { Instant } from '../../shared/core/time.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import type { Database } from '../../shared/platform/sqlite.ts';
import { countedQuota, type QuotaNote } from '../core/quota-note.ts';

type Row = {
  readonly rule: string;
  readonly per: string;
  readonly key: string;
  readonly scope: string;
  readonly number: number;
  readonly length_ms: number;
  readonly used: number;
  readonly ends_wall_ms: number;
  readonly ends_boot_ms: number;
  readonly ends_boot_id: string;
  readonly digest: string;
};

export const QUOTA_ROWS = 'SELECT * FROM quotas';

export class QuotaLedger {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** Within a transaction of whoever calls. */
  count(note: QuotaNote, now: Instant): void {
    const { rule, per, key, scope } = note;
    const row = this.#statements.find.get(rule, per, key, scope) as Row | undefined;
    const stored = row === undefined ? null : quotaOfRow(row, now).window;
    const window = countedQuota(stored, note.window);
    const { number, lengthMs, used, ends } = window;
    const values = [number, lengthMs, used, ends.wallMs, ends.bootMs, ends.bootId] as const;
    this.#statements.put.run(rule, per, key, scope, ...values, digestOf({ ...note, window }));
  }

  /** U3. */
  forget({ bootId, bootMs, wallMs }: Instant): void {
    this.#statements.forget.run(bootId, bootMs, bootId, wallMs);
  }
}

/** U2. */
export function quotaOfRow(found: Readonly<Record<string, unknown>>, now: Instant): QuotaNote {
  const row = found as Row;
  const { rule, key } = row;
  const per = row.per as LimitTerms['per'];
  const scope = row.scope as LimitTerms['scope'];
  const window: QuotaWindow = {
    number: row.number,
    lengthMs: row.length_ms,
    used: row.used,
    ends: { wallMs: row.ends_wall_ms, bootMs: row.ends_boot_ms, bootId: row.ends_boot_id },
  };
  const note = { rule, per, key, scope, window };
  if (row.digest === digestOf(note)) return note;
  const ends = { ...now, wallMs: now.wallMs + row.length_ms, bootMs: now.bootMs + row.length_ms };
  return { ...note, window: { ...window, used: Number.MAX_SAFE_INTEGER, ends } };
}

function digestOf({ rule, per, key, scope, window }: QuotaNote): string {
  const { number, lengthMs, used, ends } = window;
  const place = [number, lengthMs, used, ends.wallMs, ends.bootMs, ends.bootId];
  return sha256Hex([rule, per, key, scope, ...place].join('\n'));
}

function prepare(database: Database) {
  return {
    find: database.prepare(`${QUOTA_ROWS} WHERE rule = ? AND per = ? AND key = ? AND scope = ?`),
    put: database.prepare(
      `INSERT INTO quotas VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (rule, per, key, scope) DO UPDATE SET number = excluded.number,
         length_ms = excluded.length_ms, used = excluded.used, ends_wall_ms = excluded.ends_wall_ms,
         ends_boot_ms = excluded.ends_boot_ms, ends_boot_id = excluded.ends_boot_id,
         digest = excluded.digest`,
    ),
    forget: database.prepare(
      `DELETE FROM quotas WHERE (ends_boot_id = ? AND ends_boot_ms + length_ms < ?)
         OR (ends_boot_id <> ? AND ends_wall_ms + length_ms < ?)`,
    ),
  };
}
