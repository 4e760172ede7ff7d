/**
 * Fences in PostgreSQL. The comparison, the new fence and the write they guard must be one
 * transaction: call `check` on the connection on which the write follows, between its BEGIN and its
 * COMMIT, and roll back where it is not accepted. The row stays locked until then, so that a newer
 * owner waits for this write, or this one is refused.
 */
import type { Fences } from './fencing-plugin.ts';

export const POSTGRES_FENCES_TABLE = `
  CREATE TABLE IF NOT EXISTS holdfast_fences (
    resource text PRIMARY KEY,
    epoch bigint NOT NULL
  )`;

const RAISE = `
  INSERT INTO holdfast_fences AS fence (resource, epoch) VALUES ($1, $2)
  ON CONFLICT (resource) DO UPDATE SET epoch = EXCLUDED.epoch WHERE fence.epoch <= EXCLUDED.epoch
  RETURNING epoch`;
const HIGHEST = 'SELECT epoch FROM holdfast_fences WHERE resource = $1';

/** As `pg` has it. */
export type PostgresConnection = {
  query(
    text: string,
    values?: readonly unknown[],
  ): Promise<{ readonly rows: readonly Readonly<Record<string, unknown>>[] }>;
};

export function postgresFences(connection: PostgresConnection): Fences {
  return {
    async check(resource, epoch) {
      const raised = await connection.query(RAISE, [resource, epoch]);
      if (raised.rows.length > 0) return { accepted: true, highestEpoch: epoch };
      const { rows } = await connection.query(HIGHEST, [resource]);
      return { accepted: false, highestEpoch: Number(rows[0]?.['epoch'] ?? 0) };
    },
  };
}
