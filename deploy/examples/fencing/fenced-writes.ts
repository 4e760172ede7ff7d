/**
 * The writes of README.md, as an app makes them. Each answers `false` where a newer owner has been
 * there: then it writes nothing more under this epoch.
 */
import {
  putFenced,
  redisFences,
  type ObjectFetch,
  type PostgresConnection,
  type RedisConnection,
} from '../../../shared/client/index.ts';

/** `epoch` is that of the lease under which the work is done. */
export type OrderWrite = { readonly id: string; readonly epoch: number; readonly state: string };

/** Of a table with the column `fence bigint NOT NULL DEFAULT 0`. */
export const FENCED_UPDATE = `
UPDATE orders SET fence = $1, state = $2
WHERE id = $3 AND fence <= $1
RETURNING id`;

export async function writeToPostgres(
  connection: PostgresConnection,
  { id, epoch, state }: OrderWrite,
): Promise<boolean> {
  const { rows } = await connection.query(FENCED_UPDATE, [epoch, state, id]);
  return rows.length > 0;
}

export async function writeToRedis(
  connection: RedisConnection,
  { id, epoch, state }: OrderWrite,
): Promise<boolean> {
  const resource = `orders/${id}`;
  const key = `{${resource}}:state`;
  const { accepted } = await redisFences(connection).write({ resource, epoch, key, value: state });
  return accepted;
}

export async function writeToObject(
  send: ObjectFetch,
  bucketUrl: string,
  { id, epoch, state }: OrderWrite,
): Promise<boolean> {
  const put = await putFenced(send, { url: `${bucketUrl}/orders/${id}`, epoch, body: state });
  if (put.outcome === 'contended')
    throw new Error(`order ${id} is being written by others: not written, try again`);
  return put.outcome === 'written';
}
