import { realpathSync } from 'node:fs';
import pg from 'pg';
import { expect } from 'vitest';
import { POSTGRES_FENCES_TABLE, postgresFences } from '../../shared/client/index.ts';
import { startPostgres } from '../fakes/postgres-server.ts';
import { findProgram, programTest } from '../skips.ts';

const RESOURCE = 'orders/7';

programTest('postgres')(
  'I6: in PostgreSQL a stale owner changes nothing, also where both write at one moment',
  async () => {
    const server = await startPostgres(realpathSync(findProgram('postgres') ?? ''));
    const connect = async (): Promise<pg.Client> => {
      const client = new pg.Client(server.connection);
      await client.connect();
      return client;
    };
    const [older, newer] = await Promise.all([connect(), connect()]);
    /** What the recipe says: compare, write, commit; or roll back. */
    const write = async (client: pg.Client, epoch: number, balance: number): Promise<boolean> => {
      await client.query('BEGIN');
      const { accepted } = await postgresFences(client).check(RESOURCE, epoch);
      if (accepted) await client.query('UPDATE accounts SET balance = $1', [balance]);
      await client.query(accepted ? 'COMMIT' : 'ROLLBACK');
      return accepted;
    };
    const balance = async (): Promise<unknown> =>
      (await newer.query<{ balance: number }>('SELECT balance FROM accounts')).rows[0]?.balance;
    try {
      await older.query(POSTGRES_FENCES_TABLE);
      await older.query('CREATE TABLE accounts AS SELECT 0 AS balance');
      expect(await write(older, 5, 1)).toBe(true);
      expect(await write(older, 5, 2)).toBe(true);
      expect(await write(newer, 6, 3)).toBe(true);
      expect(await postgresFences(older).check(RESOURCE, 5)).toEqual({
        accepted: false,
        highestEpoch: 6,
      });
      expect(await write(older, 5, 4)).toBe(false);
      expect(await balance()).toBe(3);
      // The newer owner has raised the fence and not committed: the older one waits, and is refused.
      await newer.query('BEGIN');
      expect(await postgresFences(newer).check(RESOURCE, 9)).toMatchObject({ accepted: true });
      const late = write(older, 8, 5);
      await newer.query('UPDATE accounts SET balance = 6');
      await newer.query('COMMIT');
      expect(await late).toBe(false);
      expect(await balance()).toBe(6);
    } finally {
      await Promise.all([older.end(), newer.end()]);
      await server.stop();
    }
  },
  60_000,
);
